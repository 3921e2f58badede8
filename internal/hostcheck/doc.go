// Package hostcheck says what is wrong with a host before a failover shows it, and what to do.
//
//	host --Gather--> Facts --Examine--> findings, each with its remedy
//
// Gather looks and changes nothing; Examine decides and looks at nothing, so that every finding can be planted in a
// test. What a fact could not be found out about is no finding, unless not knowing it is one.
package hostcheck
