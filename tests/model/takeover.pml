/*
 * Ownership: two nodes, what each lists as its own, and who may act on what the other left.
 *
 *      node 0   own log --- records, heartbeats --->  replica   node 1
 *               replica <-- records, heartbeats ---   own log
 *
 * The claims. Each is an assertion, with its name beside it:
 *
 *   ready      A standby that is ready was proven against the node that it last heard to be active, or was that node.
 *   kept       When a node that was ready at MASTER becomes active, it lists every live flow of the last proof.
 *   ended      A flow whose end a node saw while it acted, or applied from its leader, is not adopted, unless
 *              the other node, which never heard of that end, has listed it since.
 *   purged     A live flow is purged only if the leader lists it.
 *
 * What stands for what (paths below engine/):
 *
 *   record             hear.go apply, heard; cache/replica.go Apply
 *   beat               hear.go beatSays, roleSays, prove; owner.go provenNow, chooseLeader
 *   silent             peers.go live, proven, peerLiveness
 *   adopt, adoptAll    owner.go; `over`: endedHere
 *   master, activate   role.go takeOver, progressTakeover; owner.go mergeRest
 *   backup             role.go stepDown
 *   yield, purge       owner.go yield; purge.go
 *   isReady            role.go ready, readyStill
 *
 * What is abstracted, and why that hides nothing of this:
 *
 *   Replication is the matter of replication.pml: here a record comes at any time after the change, or after later ones
 *   (then the later one comes instead), records come in any order, and a proof is the equality it is proven to be there.
 *   The receiver's `have` beyond a record is that the record is there.
 *   The kernel: what a node lists as its own is in its kernel, and an operation succeeds at once. Jobs over the table end at
 *   once. Evictions and translations are left out.
 *   Flows matter to each other only in that a proof is about all of them. So one flow is followed, and of all others, three or
 *   a million, it is only kept whether some record of theirs is missing, one bit for each direction.
 *   A flow ends for good: another incarnation is another flow.
 *   Time: a lease may end at any moment, and the minute of readyStill, too. The purge waits for nothing but that.
 *   keepalived makes a node MASTER only when the other has stepped down or crashed. Two masters are the simulation's. So
 *   what ended here since a leader was settled did so after the other had stepped down; the engine, which may be one of two,
 *   has that told by the other's heartbeat.
 *
 * Faults: records and heartbeats are late for as long as they like; one crash, after which the node is a new run that knows
 * nothing; silence at any time.
 *
 * What it cannot see. A listed flow has no updates here, so whether an update keeps the mark `adopted` does not matter. And
 * nothing is found without the mark `dead` (BLIND_DEAD, run to the end): with ends remembered as the model has them, no path
 * within these bounds needs it. Both are the simulation's to judge, as are two masters, the kernel and evictions.
 *
 * Three assumptions came after a counterexample, and make the claims weaker than they sound: a flow that a node does not list
 * ends there unnoticed; nothing that a packet met at the standby is purged; and an end does not bind a node that never
 * heard of it, nor, from its adoption on, the one that did (`gone`).
 *
 * Planted faults: FAULT_READY_UNPROVEN (ready), FAULT_ADOPT_NOTHING (kept), FAULT_NO_ADOPT_LATE and FAULT_PURGE_BLIND
 * (purged); none for `ended`, which WAS_ENDED breaks. What the model refuted, and the rule that it has instead: WAS_READY_AT
 * (ready), WAS_STEPPED (purged), WAS_ENDED (ended); see docs/MODEL.md for what the engine does.
 */

#ifndef FLOWS
#define FLOWS 1		/* followed each by itself */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 2	/* after the first, which has been: node 1 is active */
#endif

mtype = { STANDBY, TAKING, ACTIVE };

#define NONE 0		/* records */
#define LISTED 1
#define ENDED 2
#define YIELDED 3

#define SELF 3		/* who was active last: 1, 2 are the other node's runs */

typedef node {
	mtype role;
	bit life;		/* 0, after a crash 1 */
	byte activation;
	byte own[FLOWS];
	byte first[FLOWS];	/* replica of the other's run 0 */
	byte second[FLOWS];	/* ... of its run 1 */
	byte adopted[2], dead[2];	/* per run: marks, bit f */
	byte once[2];		/* per run: its activation, as heard */

	bit sees;		/* the run that was heard last, */
	mtype says;		/* its role, */
	bit live, proven;
	byte leader;		/* run + 1, or 0 */
	bit settled, cleared;
	bit merging;
	byte over;		/* flows that ended here since a leader was settled last */
	bit armed;		/* purge: the leader has all of ours */
	bit wasReady;		/* within a minute, by proof */
	byte met;		/* flows that packets met at the standby: they refresh its entries */

	/* For the claims. */
	byte lastActive, provedBy;
	bit readyThen;		/* at MASTER */
	byte cover, gone;
};

node n[2];
bit behind[2];			/* of all other flows: the node's replica lacks something of the other's present log */
byte alive;			/* flows, bit f */
byte begun;			/* flows so far */
byte crashes, takeovers;

hidden byte f, ok;

#define has(mask, x)	((mask) >> (x) & 1)
#define with(mask, x)	((mask) | 1 << (x))
#define without(mask, x) ((mask) & ~(1 << (x)))
#define rep(a, r, x)	((r) -> n[a].second[x] : n[a].first[x])
#define each(x, l)	x = 0; do :: x < l ->
#define done(x)		x++ :: else -> x = 0; break od; skip

/* For purge-timeout, longer than any lease, every proof was fresh and no packet came: so the other is there, and has heard
 * what this node says of itself. */
#define purges(a)	(leads(a) && n[1 - a].life == n[a].sees && n[1 - a].role == ACTIVE && !has(n[a].met, x) && \
	n[1 - a].sees == n[a].life && n[1 - a].says == STANDBY && n[1 - a].once[n[a].life] == n[a].activation)
#define leads(a)	(n[a].leader != 0 && n[a].settled && n[a].live && n[a].proven && n[a].says == ACTIVE && n[a].leader == n[a].sees + 1)

inline setRep(a, r, x, v)
{
	if
	:: r -> n[a].second[x] = v
	:: else -> n[a].first[x] = v
	fi
}

/* dies marks in all replicas but that of run `except` that flow x has ended. */
inline dies(a, x, except)
{
#ifdef BLIND_DEAD
	skip
#else
	if
	:: except != 0 && n[a].first[x] == LISTED -> n[a].dead[0] = with(n[a].dead[0], x)
	:: else
	fi;
	if
	:: except != 1 && n[a].second[x] == LISTED -> n[a].dead[1] = with(n[a].dead[1], x)
	:: else
	fi
#endif
}

inline adopt(a, r, x)
{
	if
	:: rep(a, r, x) != LISTED || has(n[a].adopted[r], x) || has(n[a].dead[r], x)
	:: else ->
		if
		:: n[a].own[x] == LISTED ->
			skip
#ifdef WAS_ENDED
		:: n[a].own[x] != LISTED && n[a].merging && has(n[a].over, x) ->
#else
		:: n[a].own[x] != LISTED && has(n[a].over, x) && n[a].live && n[a].says != STANDBY ->
			skip	/* its step-down will tell */
		:: n[a].own[x] != LISTED && has(n[a].over, x) && !(n[a].live && n[a].says != STANDBY) ->
#endif
			n[a].dead[r] = with(n[a].dead[r], x)	/* ended here after all that the other says */
		:: else ->
			assert(!has(n[a].gone, x));				/* ended */
			n[a].adopted[r] = with(n[a].adopted[r], x);
			n[a].own[x] = LISTED;
			n[1 - a].gone = without(n[1 - a].gone, x);	/* adopted by one who never heard of the end: it lists it again */
			printf("node %d: adopts flow %d of run %d\n", a, x, r)
		fi
	fi
}

inline adoptAll(a, r)
{
#ifdef FAULT_ADOPT_NOTHING
	skip
#else
	each(f, FLOWS)
		adopt(a, r, f);
	done(f)
#endif
}

/* record: node a takes what the other, b, says now of flow x. */
inline record(a, b, x)
{
	printf("node %d: hears of flow %d: %d\n", a, x, n[b].own[x]);
	setRep(a, n[b].life, x, n[b].own[x]);
	n[a].adopted[n[b].life] = without(n[a].adopted[n[b].life], x);
	n[a].dead[n[b].life] = without(n[a].dead[n[b].life], x);
	if
	:: n[b].own[x] == ENDED && n[a].role == STANDBY && n[a].leader == n[b].life + 1 ->
		dies(a, x, n[b].life);
		n[a].gone = with(n[a].gone, x)
	:: n[b].own[x] == LISTED && n[a].role == STANDBY && n[a].leader == n[b].life + 1 && n[a].settled ->
		n[a].gone = without(n[a].gone, x)
	:: (n[a].role == TAKING && n[a].once[n[b].life] > 0) || (n[a].role == ACTIVE && n[a].merging) ->
		adopt(a, n[b].life, x)
	:: else
	fi
}

/* equal says in ok that p's replica of q's log is q's log. */
inline equal(p, q)
{
	ok = !behind[p];
	each(f, FLOWS)
		ok = ok && rep(p, n[q].life, f) == n[q].own[f];
	done(f)
}

#define WITHOUT 2

inline prove(a, b)
{
	equal(a, b);
	if
	:: ok ->
		n[a].proven = 1;
		if
		:: n[a].merging -> adoptAll(a, n[b].life); n[a].merging = 0
		:: else
		fi;
		if
		:: n[a].role == STANDBY && n[a].leader == n[b].life + 1 ->
			if
			:: !n[a].cleared -> n[a].cleared = 1; n[a].adopted[n[b].life] = 0; n[a].dead[n[b].life] = 0
			:: else
			fi;
			if
			:: n[b].role == ACTIVE ->
				n[a].settled = 1;
				n[a].over = 0;
				n[a].provedBy = n[b].life + 1;
				n[a].cover = 0;
				each(f, FLOWS)
					if
					:: n[b].own[f] == LISTED -> n[a].cover = with(n[a].cover, f); n[a].gone = without(n[a].gone, f)
					:: else
					fi;
				done(f)
			:: else
			fi
		:: else
		fi
	:: else
	fi;
	ok = 0
}

inline chooseLeader(a)
{
	if
	:: n[a].role == STANDBY && n[a].live && n[a].says == ACTIVE && n[a].leader != n[a].sees + 1 ->
		n[a].leader = n[a].sees + 1;
		n[a].settled = 0;
		n[a].cleared = 0;
		n[a].armed = 0;
#ifndef WAS_READY_AT
		n[a].wasReady = 0
#endif
	:: else
	fi
}

/* beat: node a hears a heartbeat of b. */
inline beat(a, b)
{
	printf("node %d: hears that the other, run %d, is %e\n", a, n[b].life, n[b].role);
	ok = (n[a].says != STANDBY && n[a].sees == n[b].life);	/* was acting */
	if
	:: n[a].sees != n[b].life -> n[a].proven = 0
	:: else
	fi;
	n[a].sees = n[b].life;
	n[a].live = 1;
	n[a].says = n[b].role;
#ifndef WAS_STEPPED
	ok = ok || n[a].once[n[b].life] != n[b].activation;	/* it has acted since */
#endif
	n[a].once[n[b].life] = n[b].activation;
	if
	:: n[b].role == ACTIVE && n[a].role == STANDBY -> n[a].lastActive = n[b].life + 1
	:: else
	fi;
	if
#ifndef FAULT_NO_ADOPT_LATE
	:: ok && n[a].role != STANDBY && n[b].role == STANDBY ->
#ifdef WAS_ENDED
		n[a].over = 0;
#endif
		n[a].merging = 1; adoptAll(a, n[b].life)
#endif
	:: else
	fi;
	prove(a, b);
	chooseLeader(a);
	if
	:: leads(a) && !n[a].armed -> equal(b, a); n[a].armed = ok; ok = 0
	:: else
	fi
}

inline silent(a)
{
	printf("node %d: hears nothing\n", a);
	n[a].live = 0;
	n[a].proven = 0;
	n[a].armed = 0;
	if
	:: n[a].role == ACTIVE && n[a].says != STANDBY -> adoptAll(a, n[a].sees)
	:: else
	fi
}

#ifdef FAULT_READY_UNPROVEN
#define ready(a)	(n[a].role == STANDBY && n[a].live && n[a].says == ACTIVE && n[a].leader == n[a].sees + 1)
#else
#define ready(a)	(n[a].role == STANDBY && (leads(a) || (n[a].wasReady && !(n[a].live && n[a].says != STANDBY))))
#endif

inline master(a)
{
	printf("node %d: MASTER\n", a);
	n[a].readyThen = ready(a);
	n[a].role = TAKING;
	n[a].activation++;
	n[a].armed = 0;
	if
	:: n[a].once[0] > 0 && n[a].leader != 2 -> adoptAll(a, 0)
	:: else
	fi;
	if
	:: n[a].once[1] > 0 -> adoptAll(a, 1)
	:: else
	fi;
	if
	:: n[a].once[0] > 0 && n[a].leader == 2 -> adoptAll(a, 0)
	:: else
	fi
}

inline activate(a)
{
	printf("node %d: is active\n", a);
	n[a].role = ACTIVE;
	each(f, FLOWS)
		assert(!n[a].readyThen || !has(n[a].cover, f) || !has(alive, f) || n[a].own[f] == LISTED);	/* kept */
	done(f);
	n[a].readyThen = 0;
	n[a].lastActive = SELF;
	n[a].provedBy = SELF;
#ifndef FAULT_NO_ADOPT_LATE
	if
	:: n[a].once[n[a].sees] > 0 && !(n[a].live && n[a].says == ACTIVE) ->
		equal(a, (1 - a));
		n[a].merging = !ok || n[1 - a].life != n[a].sees;
		ok = 0
	:: else
	fi
#endif
}

inline backup(a)
{
	printf("node %d: BACKUP\n", a);
	n[a].role = STANDBY;
	n[a].leader = 0;
	n[a].settled = 0;
	n[a].merging = 0;
	n[a].armed = 0;
	n[a].readyThen = 0;
	n[a].met = 0;
	n[a].cover = 0;
	each(f, FLOWS)
		if
		:: n[a].own[f] == LISTED -> n[a].cover = with(n[a].cover, f)
		:: else
		fi;
	done(f)
}

inline crash(a)
{
	printf("node %d: crashes, and is a new run\n", a);
	crashes++;
	n[a].role = STANDBY;
	n[a].life = 1;
	behind[a] = 1;
	behind[1 - a] = 0;
	n[a].over = 0;
	n[a].activation = 0;
	each(f, FLOWS)
		n[a].own[f] = NONE;
		n[a].first[f] = NONE;
		n[a].second[f] = NONE;
	done(f);
	n[a].adopted[0] = 0; n[a].adopted[1] = 0; n[a].dead[0] = 0; n[a].dead[1] = 0; n[a].once[0] = 0; n[a].once[1] = 0;
	n[a].sees = 0; n[a].says = STANDBY; n[a].live = 0; n[a].proven = 0; n[a].leader = 0; n[a].settled = 0; n[a].cleared = 0;
	n[a].merging = 0; n[a].armed = 0; n[a].wasReady = 0; n[a].lastActive = 0; n[a].provedBy = 0; n[a].readyThen = 0;
	n[a].cover = 0; n[a].gone = 0; n[a].met = 0
}

proctype daemon(bit a)
{
	byte x;
end:	do
	/* the peer's word */
	:: atomic { true ->
		if
		:: x = 0
		:: FLOWS > 1 -> x = 1
		:: FLOWS > 2 -> x = 2
		fi;
		if
		:: d_step { rep(a, n[1 - a].life, x) != n[1 - a].own[x] -> record(a, (1 - a), x); x = 0 }
		/* flows: begin where the address is; end there */
		:: d_step { n[a].role != STANDBY && x == begun ->
			begun++; alive = with(alive, x); n[a].own[x] = LISTED; printf("node %d: flow %d begins\n", a, x); x = 0 }
		:: d_step { n[a].role != STANDBY && has(alive, x) ->
			alive = without(alive, x);
			if
			:: n[a].own[x] == LISTED -> n[a].own[x] = ENDED; n[a].gone = with(n[a].gone, x); n[a].over = with(n[a].over, x); dies(a, x, WITHOUT)
			:: else	/* its kernel does not have it, and says nothing */
			fi;
			printf("node %d: flow %d ends\n", a, x); x = 0 }
		/* a packet meets a node that has the address and not the notice yet */
		:: d_step { n[a].role == STANDBY && n[1 - a].role == STANDBY && has(alive, x) && n[a].own[x] != LISTED ->
			n[a].own[x] = LISTED; n[a].met = with(n[a].met, x); printf("node %d: meets flow %d\n", a, x); x = 0 }
		:: d_step { n[a].role == STANDBY && leads(a) && n[a].own[x] == LISTED && rep(a, n[a].sees, x) == LISTED &&
			rep((1 - a), n[a].life, x) == LISTED && n[1 - a].life == n[a].sees ->
			n[a].own[x] = YIELDED; printf("node %d: yields flow %d\n", a, x); x = 0 }
#ifdef FAULT_PURGE_BLIND
		:: d_step { n[a].role == STANDBY && purges(a) && n[a].own[x] == LISTED && rep(a, n[a].sees, x) != LISTED ->
#else
		:: d_step { n[a].role == STANDBY && purges(a) && n[a].armed && n[a].own[x] == LISTED && rep(a, n[a].sees, x) != LISTED ->
#endif
			printf("node %d: purges flow %d\n", a, x);
			assert(!has(alive, x) || n[1 - a].own[x] == LISTED);	/* purged */
			n[a].own[x] = YIELDED; x = 0 }
		:: else -> x = 0
		fi }
	/* the other flows */
	:: behind[1 - a] = 1	/* some change in this node's log */
	:: behind[a] = 0	/* all records have come */
	:: d_step { beat(a, (1 - a)) }
	:: d_step { n[a].live || n[a].proven -> silent(a) }
	/* readiness is looked at with every step */
	:: d_step { ready(a) && (!n[a].wasReady || n[a].lastActive == 0 || n[a].lastActive != n[a].provedBy) ->
		assert(n[a].lastActive != 0 && n[a].lastActive == n[a].provedBy);	/* ready */
		n[a].wasReady = 1; printf("node %d: is ready\n", a) }
	:: d_step { n[a].wasReady && !leads(a) -> n[a].wasReady = 0 }
	/* keepalived */
	:: d_step { n[a].role == STANDBY && n[1 - a].role == STANDBY && takeovers < TAKEOVERS -> takeovers++; master(a) }
	:: d_step { n[a].role == TAKING -> activate(a) }
	:: d_step { n[a].role != STANDBY -> backup(a) }
	:: d_step { crashes < CRASHES -> crash(a) }
	od
}

init {
	d_step {
		n[0].role = STANDBY; n[1].role = STANDBY; n[0].says = STANDBY; n[1].says = STANDBY;
		n[1].role = ACTIVE; n[1].activation = 1; n[1].lastActive = SELF; n[1].provedBy = SELF
	}
	atomic { run daemon(0); run daemon(1) }
}
