// Package notify hears keepalived: its words come in here and leave as vrrp.Notice.
//
//	keepalived --- notify FIFO ---> FIFO      (lines, in order, groups and instances)
//	           --- D-Bus ---------> DBus      (signals and State reads, instances only)
//	           --- notify script -> ParseScript (one process a word, in any order)
//	           --- its process ---> Liveness  (what it cannot say itself: that it died), Ask (its state, now)
//	           --- its file ------> Members   (which instances form the group)
//
// Each driver has a Run that ends with its context and hands notices to a deliver function, one at a time.
// Whether they are believed, and which of them decides, is vrrp.Tracker's part. Nothing that keepalived, or
// somebody in its name, can write ends a driver: what cannot be understood is counted and reported to
// OnError. The facts about keepalived in the comments were observed on 2.2.7 where no version is named.
package notify
