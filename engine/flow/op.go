package flow

import "syscall"

// EventKind is the kind of a ctnetlink event.
type EventKind uint8

// Events (IPCTNL_MSG_CT_NEW with and without NLM_F_CREATE, IPCTNL_MSG_CT_DELETE).
const (
	EventNew EventKind = iota
	EventUpdate
	EventDestroy
)

// Event is one change that the kernel reported. Attributes that the event did not carry are zero; an
// event always carries both tuples, status, timeout where it is not a DESTROY, and the protocol state
// where it changed.
type Event struct {
	Kind EventKind
	Has  Has
	Flow Flow
}

// Has says which optional attributes a message carried: absent is not zero.
type Has uint8

// Optional attributes of a kernel message.
const (
	HasTimeout Has = 1 << iota
	HasMark
	HasProtoInfo
	HasStatus
	HasReply
	// HasRare says that the message shows all that is rare: labels, sequence adjustment and SYN proxy that are
	// not there are none. The kernel leaves them out of an event that is not about them, and leaves out
	// labels that were cleared as well; only an event that a netlink request caused has them all, since
	// ctnetlink marks every one of them as changed (ctnetlink_new_conntrack).
	HasRare
)

// OpKind is a kernel operation.
type OpKind uint8

const (
	OpCreate   OpKind = iota // NLM_F_CREATE|NLM_F_EXCL; EEXIST if there is one
	OpUpdate                 // no NLM_F_CREATE; ENOENT if there is none
	OpDelete                 // by original tuple, and by Flow.ID where it is not 0
	OpGet                    // by original tuple; the answer's Flow is the entry
	OpGetReply               // by reply tuple
)

// Op is one kernel operation; Tag comes back in its Result.
//
// A create carries everything that Flow has: NAT by CTA_NAT_SRC and CTA_NAT_DST over the plain inverse
// reply tuple (a translated reply tuple would be accepted and then not translated), status masked to
// SettableStatus|Confirmed, TCP flags masked to TCPFlagsKept with TCPFlagBeLiberal set in both
// directions, timeout, which for GRE is fixed. An update carries timeout, mark (also 0), settable status and Expected as it is, protocol state and
// flags; never NAT, master or helper, which the kernel refuses to change.
type Op struct {
	Kind OpKind
	Tag  uint64
	Flow Flow
}

// Unanswered is the Errno of an operation whose acknowledgement never came (an overrun of the
// acknowledgements, or 2 s without one): it may or may not have happened.
const Unanswered = syscall.Errno(0xffff)

// Result answers one Op. Errno 0 is success; Flow and Packets are valid for OpGet and OpGetReply that succeeded.
type Result struct {
	Tag     uint64
	Kind    OpKind
	Errno   syscall.Errno
	Flow    Flow
	Packets uint64 // of both directions; 0 where the kernel counts none (nf_conntrack_acct)
}
