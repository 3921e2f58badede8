// Package notifytest runs a real keepalived, and a real D-Bus, for tests: in network namespaces of its own,
// with short adverts, and with the faults that keepalived meets in the field.
//
//	namespace a, b, ...          namespace sw
//	  wan0 ------------------------ br-wan
//	  lan0 ------------------------ br-lan
//
// Everything ends with the test, however it ends. Only processes started here are ended.
package notifytest
