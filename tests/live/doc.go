// Package live is the acceptance of ctsync on the real thing: the program itself, two real kernels' tables,
// real keepalived and real packets, in the laboratory of tests/lab.
//
// Each test breaks something and asks what became of the connections, of the tables and of what the program
// says about itself. With LONG=1 in the environment the same tests run with larger numbers; a plain run takes
// a few minutes.
package live
