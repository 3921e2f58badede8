// Package sim lets two or three whole engines live through trouble that one seed draws, in virtual time, and
// judges them by what really happened.
package sim
