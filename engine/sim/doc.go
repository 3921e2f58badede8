// Package sim lets two or three whole engines live through trouble that one seed draws, in virtual time and
// one goroutine, and judges them by what really happened.
//
//	clients --packets--> kernel --events, late or lost--> engine --datagrams--> network --> other engines
//	                       ^                                |   ^
//	                       +---- operations, slow, ---------+   +---- notices, after the address came or went
//	                             unanswered, refused                  (keepalived)
//
// A node is a kernel (kernel.go: a table in which no tuple is taken twice, masqueraded flows that go with their
// address, a queue that overruns, dumps between events), an engine and what keepalived makes of it (node.go).
// Clients open, use and end connections at whichever node has the virtual address (client.go); the mark of an
// entry names the incarnation, so that a judge can follow it through every cache. faults.go draws at least
// four kinds of trouble and the moments for them; in one life of four somebody records datagrams and says them
// again (replay.go), in others keys change (keys.go), versions differ (versions.go), or links, clocks and an operator
// are of no help (trouble.go), each drawn from a source of its own; after some time there is peace, and then everything has to agree (converge.go). judge.go
// holds the invariants, with replicas.go, ready.go, ends.go, steady.go and link.go:
//
//	I1  after peace replicas equal logs, the active node's own cache equals its kernel, hot kernels the leader's;
//	    before it caches and kernel do not differ for long where nothing is under way (steady.go)
//	I2  proof means that the replica is the origin's own cache, and that the origin hears this node (link.go);
//	    ready means that the kernel has it too
//	I3  the sequence number of a key never falls below one that is said to be known
//	I4  a live flow is deleted only where the rules say so, and no copy runs out at a ready standby
//	I5  no incarnation comes back whose end this node saw as the one that decides
//	I6  a takeover leaves nothing behind but what it reports, at once and later
//	I7  an active node tells the end only of what its kernel has lost
//	I8  a datagram takes effect once at most, at whom it is for, and none from before its sender answered;
//	    no nonce is used twice
//	I9  memory is bounded
//	I10 a takeover ends, a digest never differs without cause
//	I11 a replica holds what the origin wrote, whatever their roles
//	I12 a ready node has rewritten the entries that would refuse the packets of a connection gone on elsewhere
//	I13 an active node's readiness file says so, and never is no node eligible while one is active
//	I14 the same seed gives the same bytes
//
// A failing seed prints itself and its last events:
//
//	go test ./engine/sim -run 'TestSeed$' -seed=N      replays one with its whole trace
//	  -watch '6 10.0.0.1:40002>198.18.0.1:443 zone 0'  and what every node holds of one key
//	go test ./engine/sim -run 'TestSeeds$' -seeds=N    simulates many (-first: where to begin, -stop: at a failure)
//	go test ./engine/sim -run TestMutations -mutations breaks one rule after the other
//
// # What simulations changed
//
// Seeds are those of the day when each was found; later changes of the simulation draw other lives from them.
//
//   - A digest that differs counts only in a heartbeat newer than every DATA (1188, 1779). A repair is made of
//     the present state: it leaves out a key that has changed since the heartbeat that overtook it, so that the
//     log seems known up to the heartbeat's end and lacks that key.
//   - A leader is settled by a proof heard after it became the leader, not by an older lease.
//   - What the kernel's entry looks like is remembered beside it (6, 16, 68): which copy it was written from is
//     no longer known once the leader changes, and an update never changes a translation.
//   - The end of an entry that we have written is verified by a question before it is told (17, 2133): the
//     event may be about the entry that was there before ours.
//   - A DESTROY without a timeout, from a kernel that tells timeouts, is an expiry and no eviction (8, 10).
//   - An eviction that only a dump brings to light looks for addresses that left since the overrun (1604).
//   - The dump after an overrun waits until the queue has been read (1740, 1279): what was queued before the
//     loss is older than the dump, and would count as newer.
//   - A dump follows every takeover (23, 27): entries of flows that had ended elsewhere may carry traffic again.
//   - An active node goes on adopting what the nodes before it listed when they stepped back, until it has all
//     of it, since their last records may have been lost; but nothing that ended here since (1012).
//   - An own flow whose reply tuple a live one has is yielded at once (1712, 1510): while it is listed, standbys
//     make the other one give way to it.
//   - An entry of the leader's former incarnation with another translation is replaced even by a node that is
//     taking over, unless a packet made it there (54); once active, the cache follows the kernel instead.
//   - An operation that stays unanswered ends neither in a second try nor in a wait while taking over: it is
//     tried again later, and counts as failed until then.
//   - EBUSY is answered by a look first (1359): deleting and creating would take a live entry away for a moment.
//   - Readiness waits until everything that a new leader listed has been through the kernel writer once (5).
//   - A failed dump is tried again after a pause.
//   - A copy has at any time at least the timeout that a packet would give its flow: renewed at half of it, a fourth
//     of the connections whose packets come seldom lost their entry with their node (1371 of 14163 in 150 lives, then
//     1043 of 13965).
//   - What a standby is to delete is not its own when a dump shows it, though the delete may seem done (26); and
//     the leader's end reaches also an entry of which a DESTROY told, which may have been the one before (5595).
//   - An own flow whose update is refused is looked at, and takes over the bits that the kernel never forgets
//     (7468): an update that met the next incarnation sets them, and no event tells of it.
//   - An end that another deciding node tells is remembered with a flow of our own that is held back, being written, or
//     still in our kernel, and counts once our kernel has it no more (103, 191, 1343, 34586). Before another try to write it
//     the kernel is asked. So it is at an active node, until that has been the only one for a while (880, 7118); and where
//     the end comes before the heartbeat that says that its node acts (898).
//   - What left with an address comes back with it, if that was between two activations (1576); what the next active
//     node does not list though it had the chance is dropped (1569).
//   - What came while the leader did not act, for a copy that a packet met, is written once it acts again (125).
//   - A node that takes over looks before it deletes a copy of another translation: a packet may have made it (3626).
//   - A dump counts neither for what is about to be deleted (3137) nor against what came after an eviction (1844, 49).
//   - While a loss of events is not made good, the end of what only a dump showed is verified by a question (1504). What the
//     answer shows counts: what is listed may be the entry before ours, of which late events told (2843).
//   - What an active node adopts late is not written over what its kernel has meanwhile (2933), and what a node that takes
//     over adopts is written before that ends, though the kernel knew better at first (3538).
//   - A connection that closed elsewhere is closed in a kernel that has it from before (4443).
//   - A closed connection that was not written, since its time was over, is looked at again when it would be tidied away:
//     packets refreshed it all the same (3266).
//   - What waited for a node that slept was made before it spoke last, whatever counter it names: it proves nothing (141).
//   - A closed connection counts as refreshed only where its node's log is wholly known: else its end is perhaps in what
//     is missing (6390, 6447, 6831).
//   - What an active node finds in its kernel though the leader had ended it does not come back when it goes (7513).
//   - What is being deleted is nothing to adopt (208), and a create of a standby that nobody answered is in doubt until it
//     is known what came of it (6495).
//   - What the node that acted meanwhile lists is newer than what left with the address (6480).
//   - Nothing is in the way of a flow that a packet made while the kernel was asked what is (8417).
//   - What follows an end that was held back is written at a standby as any other own flow that its leader lists (3428).
//   - An end here says nothing of a flow that another node lists translated otherwise (2747); a connection that closed while
//     nothing could be written is written at the takeover (3776), and as the leader lists it, not as our own has run down
//     (5044).
//   - What an active node lists that has heard us since a flow of that key ended here is adopted at once (9226), and so is
//     what was listed before it was heard that its node acts (9184).
//   - A close that an active node hears of only after its takeover counts there too, for what it met nothing of since it
//     stepped down (7503, 7761): its state and time do, since an entry of an incarnation before may be meant (585).
//   - What a standby's kernel has under the key of an own flow that left with its address, written for the leader, is the leader's
//     (9720). A flush of the internal cache keeps what the kernel is being told of (12550).
//   - What closed and left with an address does not come back once its time is over, and is in the way of nothing (24697). What
//     followed a flow that is held back goes with a dump that does not show it (27205).
//   - What was adopted and is not written yet gives way to what its node lists next under that key (12066), also where it acts
//     again before it leads us (9508); and what changed while it was written is written once more.
//   - A delete goes by tuple: what it took away is perhaps an entry of whose beginning an event tells only afterwards. Who
//     acts makes it again (9483, 5682), a standby looks (4443).
//   - A challenge is sealed with the key that was heard: else nodes that begin anew while keys are changed do not meet.
//   - A connection that was taken over as it was before, and closed as the next record of its node tells, or another node's,
//     closes here too (29335, 43842, 64837, 70135); and one that closed here and was written for the next leader, which had
//     not heard of that, is closed in the kernel once this node acts again (73156).
//   - What left with its address, and has begun anew where the address is, does not come back with it (71218).
//   - What an own flow had hidden that ran out moments before the takeover, which nobody had told yet, is taken over then
//     (62527, 77624, 56613).
//   - What a node reads after its step-down, of the time when it acted, is adopted as it comes (14065); what an obstacle had hidden
//     that gives way is, too (6665, 36568).
//   - What a dump shows while an update is under way is the newer (6034); what refuses an update and is translated otherwise
//     has taken the place of what a late event told (7359).
//   - An end at a node that takes over waits where a create stayed unanswered (11472), and counts against what a standby
//     lists still (9825, 15402).
//   - A connection that had closed here gives way to the next one under its key, which the leader lists (48108); so does what
//     cannot be created (42364).
//   - After a sleep nothing is written before the events that waited have been read (48352).
//   - Of two active nodes the last leader is believed first only while it is heard (35865).
//   - What another node ended, and a packet meets here at an active node all the same, is told as one that has begun anew (40162,
//     93735). A create of a standby that nobody answered is in doubt at the takeover, too (60343).
//   - What one of two active nodes ended, and the purge deletes, is not taken over from the other one (48090), unless that acts (3708).
//     What the leader merely never had is (7144).
//   - What a node that stopped while it acted tells late is adopted as it comes (81133). What it tells of a state that was taken over
//     as it was before is a reply, too (57600).
//   - What the leader ended while it was looked up in a standby's kernel goes there (152).
//   - What a node told as ended while it took over is not brought back by a proof of the last active one, which still lists
//     it (20121).
//   - A reply that only the leader saw counts at a takeover, though a packet met the copy (25296).
//   - What ended and began anew between two reads of a standby is made anew there, and an update clears labels that our kernel's
//     entry may have from another incarnation: it would keep them (18 of 1000 lives, once incarnations were labelled). An event that
//     is translated otherwise carries over nothing rare (1258), nor does a dump without it where none was ever told (8508).
//   - A standby's own flow is written with what is rare of its own, not of the leader's (11531, 17740).
//   - An own flow that is flushed leaves its entry to the leader's, which is written (22507).
//
// # What is known and left
//
//   - Adoption by a record that comes after the end of its flow was told by another node, or seen here before the
//     record's node stepped down: a mark on a copy that is not there yet is impossible, and whether the record or the
//     end is the newer cannot be known. To adopt costs a stale entry until its timeout, not to adopt a connection. It
//     needs two failovers within the time of one repair, or a partition (2064, 5102). Counted as "adopted by a record
//     that came after the end".
//   - An update that meets the next incarnation of its key, since updates go by tuple: the event that tells of
//     the new one has it written once more (58).
//   - A standby's entry that was written over with the next incarnation keeps bits of the one before (8044), and one that
//     knew of a reply keeps that, though the next leader has not heard of it (8256).
//   - What a live active node lists that this one ended before it stepped down is adopted only when that node steps back or
//     has been silent for three seconds, even if it began anew there, where that node has not been heard to have heard us since.
//   - An event that was queued before a dump and read after it may tell the end of the entry before the one that the dump
//     showed, the event of which was lost. It is verified unless both look alike; the dump after that loss makes it good.
//   - What an active node ended, and a standby's kernel has that began anew and found it there, may come back with an address
//     (20293): an entry too many, until it runs out.
//   - What ended at a node that did not lead, and is in the kernel of a third one that did not hear of it then, is there until
//     the purge (47541): to delete it on the word of who does not lead would cost connections.
//   - While two nodes are active each may tell ends that are none for the other; I5 excuses what an active node
//     listed at that time.
package sim
