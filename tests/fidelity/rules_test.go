package fidelity

// notCarried says which rule of the kernel keeps a field from being carried.
type notCarried struct {
	field, why string
	where      func(entry) bool // nil: everywhere
}

var notCarriedFields = []notCarried{
	{fCounters, "the kernel takes no counters over netlink: a copy counts from zero", nil},
	{fTime, "the kernel takes no timestamps over netlink: a copy has the time of its creation", nil},
	{fDone, "IPS_SRC_NAT_DONE and IPS_DST_NAT_DONE cannot be set over netlink (IPS_UNCHANGEABLE_MASK): the kernel sets both on a create with a translation, and else none", nil},
	{fLiberal, "set on purpose in every copy: a window that the copy's kernel has not seen cannot be checked", nil},
	{fScale, "the kernel takes window scales only if both directions have announced one (IP_CT_TCP_FLAG_WINDOW_SCALE), which a SYN alone has not: it reads them again from the next SYN or SYN/ACK, and the copy is liberal meanwhile", func(e entry) bool { return e[fState] == "1" }},
}

// rule is the note that says why a field of an entry is not carried, or 0.
func rule(field string, e entry) int {
	for i, n := range notCarriedFields {
		if n.field == field && (n.where == nil || n.where(e)) {
			return i + 1
		}
	}
	return 0
}
