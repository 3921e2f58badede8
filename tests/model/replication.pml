/*
 * Replication: one node's log, and the copy of it that another node keeps.
 *
 *      origin  ---- DATA, HEARTBEAT ---->  receiver
 *              <--------- WANT ----------
 *
 * The claims. Each is an assertion, with its name beside it:
 *
 *   equal      A receiver that was proven since its last restart, with nothing missing, has exactly the origin's log,
 *              however much has happened since that proof.
 *   ended      An end that the receiver applied is not undone by an older record.
 *   sweep      What a restart put in doubt is dropped only if the origin does not list it: on proof.
 *   progress   Wherever loss, reordering, restarts and crashes have led: once they stop, three exchanges bring a proof, with
 *              one restart at most. So no RESTART leads to another for ever.
 *
 * What stands for what (paths below engine/):
 *
 *   change             cache/log.go Put, End: the next sequence number; a flow has only its newest place
 *   prune              peers.go pruneLog, cache/log.go Prune: tombstones go, the horizon rises
 *   cut                send.go sendRange, with room for one record
 *   origin             send.go sendLive, beat; repair.go repair
 *   tooOld             repair.go hearWant: whether RESTART is the answer
 *   findGap            repair.go askFor, cache/replica.go Gap: one gap a question
 *   apply, range       cache/replica.go Apply, Range
 *   restart            hear.go restartPeer, cache/replica.go Restart
 *   hearData, hearBeat hear.go hearData, prove; cache/replica.go Complete, Agrees, Sweep
 *   anew               a new run: trust.go meet
 *
 * What is abstracted, and why that hides nothing:
 *
 *   Time. Whatever a timer does may happen at any moment, or never. A proof lasts three seconds in the engine and until the
 *   next restart here: what holds for longer holds for shorter.
 *   Pruning needs no reason here (in the engine: every peer has it, or has been silent for long, or there are too many), so
 *   the claims need none. Nor does a restart (RESTART, a heartbeat that differs, an operator).
 *   Counters of datagrams grow without bound, but only comparisons count: with the newest heartbeat taken, the newest DATA
 *   taken, the floor of the last restart. What is under way is kept in the order in which it was sent, and each datagram
 *   has one bit for each comparison, which is exact.
 *   A datagram that comes twice is refused by its counter before any of this (peers.go window), so none does.
 *   One record a datagram: several act as if they came one after the other.
 *   Records have no value and no `born`: the sequence number names the change, which fixes both.
 *   The digest is perfect: equal only for equal sets of (flow, sequence number). In the engine: 64 bits and a count.
 *   WANT comes at once. A late one acts as one that came at once and whose answer is late, since the origin looks at its
 *   horizon before every datagram it gives. RESTART acts as a heartbeat and a restart.
 *   Flows are alike: each is first seen after the one before it.
 *   The bounds on intervals and memory are left out: they only lead to asking again.
 *   A crash of the origin is its silence, any state in which it does nothing more: takeover.pml goes on from there.
 *
 * Faults: any number of datagrams is lost, or overtaken by the AIR-1 sent after it; the receiver crashes and is a new run
 * that knows nothing, any number of times.
 *
 * Planted faults: FAULT_OLD_RECORD, FAULT_NO_FLOOR (ended), FAULT_NO_HORIZON (equal), FAULT_EARLY_SWEEP (sweep),
 * FAULT_WANT_ALL (progress). What the model refuted, and where it now
 * has another rule: WAS_FLOOR (ended), WAS_PRUNE, WAS_GIVE, WAS_BASE,
 * WAS_FROM_0 (equal); see docs/MODEL.md for what the engine does.
 */

#ifndef FLOWS
#define FLOWS 3
#endif
#ifndef CHANGES
#define CHANGES 4	/* what happens to the flows, altogether; at most 6 */
#endif
#ifndef AIR
#define AIR 2		/* datagrams under way at once; at most 2 */
#endif

/* The origin. */

byte last;		/* end of the log */
byte what[CHANGES + 1];	/* change s: its flow * 2, + 1 if the flow ended */
byte place[FLOWS];	/* newest change of a flow, 0 before the first */
byte horizon;		/* tombstones up to here are forgotten */
byte sent;		/* changes up to here have gone out to all */
byte next, to, since;	/* what was asked for: (next, to], and from which end of the log the asker began */

#define flow(s)		(what[s] / 2)
#define ends(s)		(what[s] % 2)
#define listed(f)	(place[f] != 0 && !ends(place[f]))
#define kept(s)		(place[flow(s)] == s && !(ends(s) && s <= horizon))
#define max(a, b)	((a) > (b) -> (a) : (b))

#ifdef WAS_PRUNE
#define prunable last
#else
#define prunable sent
#endif

#if defined(FAULT_NO_HORIZON)
#define tooOld(from, b)	(0)
#elif defined(FAULT_WANT_ALL)
#define tooOld(from, b)	(from < horizon)
#elif defined(WAS_FROM_0)
#define tooOld(from, b)	(max(from, b) > 0 && max(from, b) < horizon)
#else
#define tooOld(from, b)	(max(from, b) < horizon)
#endif

#ifdef WAS_GIVE
#define tooOldNow(from, b) (0)
#else
#define tooOldNow(from, b) tooOld(from, b)
#endif

/* The air: datagrams in the order in which they were sent. */

mtype = { DATA, BEAT };

typedef datagram {
	mtype kind;
	byte prev, last;	/* DATA: all of (prev, last]; BEAT: the log's end */
	byte seq;		/* DATA: its record, 0 if none */
	bit oldBeat;		/* its counter is below the newest heartbeat taken, */
	bit oldData;		/* ... the newest DATA taken, */
	bit oldFloor;		/* ... the floor */
	bit ended;		/* for the claim: the receiver has applied an end after its record */
};

datagram air[AIR];
byte flying;

/* One heartbeat at a time: of two the older is ignored anyway, once the newer was taken. */
#define beating ((flying > 0 && air[0].kind == BEAT) || (flying > 1 && air[1 % AIR].kind == BEAT))

/* The receiver. */

byte have;
byte known;		/* bit s: change s, beyond have, is known */
byte at[FLOWS];		/* the copy of a flow: its sequence number, 0 if there is none */
byte stale;		/* bit f: the copy of f is in doubt */
byte heardLast;		/* the log's end, as far as heard */
byte base;		/* the log's end when it began with nothing */
bit proven;		/* since the last restart */

#define holds(f)	(at[f] != 0 && !ends(at[f]))
#define doubted(f)	(stale >> (f) & 1)

/* Scratch, 0 or of no meaning between steps. */

hidden byte f, s, m, gap, was, ok, turn, restarts;
hidden byte dPrev, dLast, dSeq, dLate;

#define each(x, n)	x = 0; do :: x < n ->
#define done(x)		x++ :: else -> x = 0; break od; skip

/* cut finds the DATA after `from`: its record dSeq, and how far it covers, dLast. */
inline cut(from, until)
{
	dPrev = from;
	dSeq = 0;
	dLast = until;
	s = from + 1;
	do
	:: s <= until && !kept(s) -> s++
	:: s <= until && kept(s) && dSeq == 0 -> dSeq = s; s++
	:: s <= until && kept(s) && dSeq != 0 -> dLast = dSeq; break
	:: s > until -> break
	od;
	s = 0
}

inline post(k)
{
	air[flying].kind = k;
	air[flying].prev = dPrev;
	air[flying].last = dLast;
	air[flying].seq = dSeq;
	flying++;
	printf("origin: sends %e (%d, %d] with record %d\n", k, dPrev, dLast, dSeq)
}

/* taken is datagram i in hand. */
inline taken(i)
{
	dPrev = air[i].prev;
	dLast = air[i].last;
	dSeq = air[i].seq;
	dLate = air[i].oldData;
	printf("receiver: takes %e (%d, %d] with record %d\n", air[i].kind, dPrev, dLast, dSeq)
}

/* gone takes datagram i out of the air. */
inline gone(i)
{
	m = i;
	do
	:: m + 1 < flying ->
		air[m].kind = air[m + 1].kind;
		air[m].prev = air[m + 1].prev;
		air[m].last = air[m + 1].last;
		air[m].seq = air[m + 1].seq;
		air[m].oldBeat = air[m + 1].oldBeat;
		air[m].oldData = air[m + 1].oldData;
		air[m].oldFloor = air[m + 1].oldFloor;
		air[m].ended = air[m + 1].ended;
		m++
	:: else -> break
	od;
	flying--;
	air[flying].kind = 0;
	air[flying].prev = 0;
	air[flying].last = 0;
	air[flying].seq = 0;
	air[flying].oldBeat = 0;
	air[flying].oldData = 0;
	air[flying].oldFloor = 0;
	air[flying].ended = 0
}

inline change(x, over)
{
	last++;
	what[last] = x * 2 + over;
	place[x] = last;
	printf("origin: change %d, flow %d, ended %d\n", last, x, over)
}

inline prune()
{
	s = horizon + 1;
	do
	:: s <= prunable ->
		if
		:: ends(s) && place[flow(s)] == s -> horizon = s; printf("origin: forgets the end %d\n", s)
		:: else
		fi;
		s++
	:: else -> break
	od;
	s = 0
}

/* endedBy marks what is under way and older than the end of flow x, now applied. */
inline endedBy(x, end)
{
	each(m, flying)
		if
		:: air[m].seq != 0 && flow(air[m].seq) == x && air[m].seq < end -> air[m].ended = 1
		:: else
		fi;
	done(m)
}

/* apply takes the record in hand; i is its datagram. */
inline apply(i)
{
	f = flow(dSeq);
	if
#ifdef FAULT_OLD_RECORD
	:: at[f] == dSeq -> stale = stale & ~(1 << f)
	:: else ->
#else
	:: dSeq > have && at[f] == dSeq -> stale = stale & ~(1 << f)
	:: dSeq > have && at[f] < dSeq ->
#endif
		at[f] = dSeq;
		stale = stale & ~(1 << f);
		if
		:: ends(dSeq) -> endedBy(f, dSeq)
		:: else -> assert(!air[i].ended)				/* ended */
		fi
#ifndef FAULT_OLD_RECORD
	:: else
#endif
	fi;
	f = 0
}

/* range: all of (from, until] is known. */
inline range(from, until)
{
	if
	:: until > have && from < until ->
		s = from + 1;
		do
		:: s <= until -> known = known | 1 << s; s++
		:: else -> break
		od;
		do
		:: known >> (have + 1) & 1 -> have++
		:: else -> break
		od;
		known = known & ~((2 << have) - 1);
		each(f, FLOWS)
			if
			:: at[f] <= have && at[f] != 0 && ends(at[f]) -> at[f] = 0
			:: else
			fi;
		done(f)
	:: else
	fi;
	s = 0
}

/* raiseFloor refuses from now on DATA from before the newest datagram taken. */
inline raiseFloor()
{
	each(m, flying)
#if defined(FAULT_NO_FLOOR)
		air[m].oldFloor = 0;
#elif defined(WAS_FLOOR)
		air[m].oldFloor = air[m].oldBeat;
#else
		air[m].oldFloor = air[m].oldBeat || air[m].oldData;
#endif
	done(m)
}

/* restart begins again: all is in doubt. */
inline restart(end)
{
	each(f, FLOWS)
		if
		:: at[f] != 0 && ends(at[f]) -> at[f] = 0
		:: at[f] != 0 && !ends(at[f]) -> stale = stale | 1 << f
		:: else
		fi;
	done(f);
	raiseFloor();
	have = 0;
	known = 0;
	base = end;
	proven = 0;
	printf("receiver: restarts at %d\n", end)
}

/* complete says in ok that nothing is missing up to `end`, and nothing known beyond. */
inline complete(end)
{
	ok = (have == end && known == 0);
	each(f, FLOWS)
		ok = ok && at[f] <= end;
	done(f)
}

/* placeAt gives in `was` the newest change of flow x up to `end`. */
inline placeAt(x, end)
{
	was = end;
	do
	:: was > 0 && flow(was) != x -> was--
	:: else -> break
	od;
	ok = ok
}

/* agrees clears ok unless what is not in doubt is what the origin listed when its log ended at `end`. */
inline agrees(end)
{
	each(f, FLOWS)
		placeAt(f, end);
		if
		:: was != 0 && !ends(was) -> ok = ok && at[f] == was && !doubted(f)
		:: else -> ok = ok && (!holds(f) || doubted(f))
		fi;
	done(f)
}

/* sweep drops what is in doubt. */
inline sweep(end)
{
	each(f, FLOWS)
		if
		:: doubted(f) ->
			placeAt(f, end);
			assert(was == 0 || ends(was));				/* sweep */
			at[f] = 0;
			endedBy(f, end)
		:: else
		fi;
	done(f);
	stale = 0
}

inline hearData(i)
{
	each(m, i)
		air[m].oldData = 1;
	done(m);
	if
	:: dSeq != 0 -> apply(i)
	:: else
	fi;
	range(dPrev, dLast);
	if
	:: dLast > heardLast -> heardLast = dLast
	:: else
	fi
}

inline hearBeat(i)
{
	each(m, flying)
		air[m].oldBeat = (m < i);
	done(m);
	heardLast = dLast;
	complete(dLast);
	if
#ifdef FAULT_EARLY_SWEEP
	:: have >= base && have > 0 -> sweep(dLast)
#else
	:: ok ->
		agrees(dLast);
		if
		:: ok -> sweep(dLast); proven = 1; printf("receiver: proven at %d\n", dLast)
		:: !ok && !dLate -> proven = 0	/* and a restart, which may always be */
		:: else
		fi
#endif
	:: else
	fi;
	ok = 0
}

inline checkEqual()
{
	complete(last);
	if
	:: proven && ok ->
		agrees(last);
		assert(ok && stale == 0)						/* equal */
	:: else
	fi;
	ok = 0
}

/* findGap gives the lowest range that is missing, (have, gap]; gap is 0 if none is. */
inline findGap()
{
	gap = 0;
	if
	:: known != 0 ->
		gap = have + 1;
		do
		:: known >> (gap + 1) & 1 -> break
		:: else -> gap++
		od
	:: known == 0 && heardLast > have -> gap = heardLast
	:: else
	fi;
	ok = (have == 0 && known == 0);
	each(f, FLOWS)
		ok = ok && (!holds(f) || doubted(f));
	done(f);
	if
	:: ok && gap != 0 ->	/* nothing is held, so no end before this concerns it, if nothing older comes */
		base = heardLast;
#ifndef WAS_BASE
		raiseFloor()
#endif
	:: else
	fi;
	ok = 0
}

/* calm is the claim `progress`: no loss, no crash, no change any more, and what was under way has come. */
inline calm()
{
	restarts = 0;
	proven = 0;
	each(turn, 3)
		sent = last;
		heardLast = last;
		findGap();
		if
		:: gap != 0 && tooOld(have, base) -> restart(last); restarts++
		:: else
		fi;
		findGap();
		do
		:: gap != 0 && !tooOld(have, base) ->
			next = have;
			do
			:: next < gap -> cut(next, gap); next = dLast; hearData(0)
			:: else -> break
			od;
			findGap()
		:: else -> break
		od;
		dLast = last;
		dLate = 0;
		proven = 0;
		hearBeat(0);
		complete(last);
		if
		:: ok && !proven -> restart(last); restarts++
		:: else
		fi;
		ok = 0;
	done(turn);
	assert(proven && restarts <= 1)							/* progress */
}

proctype origin()
{
	byte k;
end:	do
	:: atomic { last < CHANGES ->
		if
		:: k = 0
		:: FLOWS > 1 && place[0] != 0 -> k = 1
		:: FLOWS > 2 && place[1 % FLOWS] != 0 -> k = 2
		fi;
		if
		:: d_step { change(k, 0); k = 0 }
		:: listed(k) -> d_step { change(k, 1); k = 0 }
		fi }
	:: d_step { sent < last && flying < AIR -> cut(sent, last); sent = dLast; post(DATA) }
	:: d_step { next < to && flying < AIR ->
		if
		:: tooOldNow(next, since) -> next = to	/* RESTART */
		:: else -> cut(next, to); next = dLast; post(DATA)
		fi;
		if
		:: next >= to -> next = 0; to = 0; since = 0
		:: else
		fi }
	:: d_step { flying < AIR && !beating -> dPrev = 0; dLast = last; dSeq = 0; post(BEAT) }
	:: d_step { horizon < prunable -> prune() }
	od
}

proctype receiver()
{
	byte i;
end:	do
	:: atomic { flying > 0 ->
		if
		:: i = 0
		:: flying > 1 -> i = 1
		fi;
		d_step {
			taken(i);
			if
			:: air[i].kind == DATA && !air[i].oldFloor -> hearData(i)
			:: air[i].kind == BEAT && !air[i].oldBeat -> hearBeat(i)
			:: else
			fi;
			gone(i);
			i = 0;
			checkEqual()
		} }
	:: d_step { known != 0 || heardLast > have ->
		findGap();
		printf("receiver: wants (%d, %d], base %d\n", have, gap, base);
		if
		:: tooOld(have, base) -> next = 0; to = 0; since = 0	/* RESTART */
		:: else -> next = have; to = gap; since = base
		fi }
	:: d_step { heardLast > 0 -> restart(heardLast) }
	od
}

proctype trouble()
{
	byte i;
end:	do
	:: atomic { flying > 0 ->
		if
		:: i = 0
		:: flying > 1 -> i = 1
		fi;
		d_step { printf("trouble: loses %e (%d, %d]\n", air[i].kind, air[i].prev, air[i].last); gone(i); i = 0 } }
	:: d_step { have != 0 || known != 0 || stale != 0 ->	/* the receiver runs anew */
		printf("trouble: the receiver runs anew\n");
		do
		:: flying > 0 -> gone(0)
		:: else -> break
		od;
		each(f, FLOWS)
			at[f] = 0;
		done(f);
		have = 0; known = 0; stale = 0; proven = 0; base = last; heardLast = 0;
		next = 0; to = 0; since = 0 }
	od
}

#ifdef PROGRESS
proctype judge()
{
	d_step { flying == 0 -> calm() }
	false
}
#endif

init {
	atomic {
		run origin(); run receiver(); run trouble();
#ifdef PROGRESS
		run judge()
#endif
	}
}
