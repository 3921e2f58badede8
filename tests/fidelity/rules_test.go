package fidelity

// notCarried says which rule of the kernel keeps a field from being carried.
type notCarried struct{ field, why string }

var notCarriedFields = []notCarried{
	{fCounters, "the kernel takes no counters over netlink: a copy counts from zero"},
	{fTime, "the kernel takes no timestamps over netlink: a copy has the time of its creation"},
	{fDone, "IPS_SRC_NAT_DONE and IPS_DST_NAT_DONE cannot be set over netlink (IPS_UNCHANGEABLE_MASK): the kernel sets both on a create with a translation, and else none"},
	{fLiberal, "set on purpose in every copy: a window that the copy's kernel has not seen cannot be checked"},
}

// rule is why a field is not carried, or nil.
func rule(field string) *notCarried {
	for i := range notCarriedFields {
		if notCarriedFields[i].field == field {
			return &notCarriedFields[i]
		}
	}
	return nil
}
