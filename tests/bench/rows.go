package main

// row is one line of the table: what is compared, and how far the ratio to conntrackd is to go.
type row struct {
	key   string
	title string
	unit  string
	least float64 // the most that the ratio may be, 0: no limit
	goal  float64
	note  string
	seal  [2]float64 // the limits where the link is sealed, if they differ
	more  bool       // more is better, and the limits are the least that the ratio may be
}

// Keys of rows that cases fill.
const (
	rowCPUActive     = "cpu-active-"              // and the shape
	rowCPUWarm       = "cpu-standby-warm-"        // and the shape
	rowCPUHot        = "cpu-standby-hot-"         // and the shape
	rowCPUBursts     = "cpu-active-bursts-"       // and the shape
	rowCPUWarmBursts = "cpu-standby-warm-bursts-" // and the shape
	rowWire          = "wire-"                    // and the shape
	rowGenerator     = "generator-"               // and the shape
	rowMemActive     = "memory-active"
	rowMemStandby    = "memory-standby"
	rowMemActive2    = "memory-active-later"
	rowMemStandby2   = "memory-standby-later"
	rowEmpty         = "memory-empty"
	rowCommit        = "commit"
	rowTakeover      = "takeover"
	rowTakenOver     = "takenover"
	rowLost          = "lost"
	rowFullSpeed     = "full-speed"
	rowLag50         = "lag-p50"
	rowLag99         = "lag-p99"
	rowIdle          = "idle"
	rowPacketsCPU    = "cpu-active-packets"
	rowPacketsRate   = "packets-rate"
	rowPacketsCost   = "packets-cost"
	rowFloorRecv     = "floor-receive"
	rowFloorBursts   = "floor-receive-bursts"
	rowFloorQueue    = "floor-receive-queue"
	rowFloorQueueB   = "floor-receive-queue-bursts"
	rowFloorInject   = "floor-inject"
)

// shapes of the loads in the order of the table.
var shapes = []string{"established", "short", "udp", "mixed"}

var shapeTitles = map[string]string{
	"established": "established TCP, NAT", "short": "short TCP, 7 events", "udp": "UDP, 3 events", "mixed": "TCP, IPv4 NAT and IPv6",
}

// rows is the table.
func rows() []row {
	var rs []row
	perShape := func(key, title, unit string, least, goal float64, note string) {
		for _, s := range shapes {
			rs = append(rs, row{key: key + s, title: title + ", " + shapeTitles[s], unit: unit, least: least, goal: goal, note: note})
		}
	}
	perShape(rowCPUActive, "CPU per event, active", "us", 0.45, 0.33, "")
	rs = append(rs, row{key: rowPacketsCPU, title: "CPU per event, active, real packets", unit: "us", least: 0.45, goal: 0.33})
	perShape(rowCPUWarm, "CPU per event, standby warm", "us", 0.50, 0.33, "")
	perShape(rowCPUHot, "CPU per event, standby hot", "us", 0.75, 0, "conntrackd with DisableExternalCache; goal: the injector's floor + 0.6 us")
	perShape(rowCPUBursts, "CPU in bursts, active", "us", 0.45, 0.33, "per event, 128 at a time")
	perShape(rowCPUWarmBursts, "CPU in bursts, standby warm", "us", 0.50, 0.33, "per event, 128 at a time")
	rs = append(rs,
		row{key: rowMemActive, title: "memory per flow, active", unit: "B", least: 0.40, goal: 0.28},
		row{key: rowMemStandby, title: "memory per flow, standby warm", unit: "B", least: 0.40, goal: 0.28},
		row{key: rowMemActive2, title: "memory per flow, active, 130 s later", unit: "B", least: 0.40, goal: 0.28},
		row{key: rowMemStandby2, title: "memory per flow, standby warm, 130 s later", unit: "B", least: 0.40, goal: 0.28},
		row{key: rowEmpty, title: "memory of an empty active daemon", unit: "MB"})
	perShape(rowWire, "bytes on the wire per event", "B", 0.50, 0.35, "Ethernet frames of both directions")
	for i := range shapes {
		rs[len(rs)-1-i].seal = [2]float64{0.55, 0.40}
	}
	return append(rs,
		row{key: rowCommit, title: "warm commit of all flows", unit: "ms", least: 0.75, goal: 0.69},
		row{key: rowTakeover, title: "takeover hot, notice to all in the kernel", unit: "ms", least: 0.01, note: "to conntrackd's commit; goal: under 10 ms; counted before the notice: nothing was lacking"},
		row{key: rowTakenOver, title: "takeover hot, notice to active, bookkeeping included", unit: "ms"},
		row{key: rowLost, title: "events lost at full speed, 64 MB queue", unit: "", note: "limit and goal: none"},
		row{key: rowFullSpeed, title: "full speed reached with the daemon", unit: "k/s", more: true, least: 1},
		row{key: rowLag50, title: "lag p50, to the standby's kernel", unit: "us", least: 1, note: "conntrackd: to its external cache"},
		row{key: rowLag99, title: "lag p99, to the standby's kernel", unit: "us", least: 1, note: "conntrackd: to its external cache; goal: under 5 ms"},
		row{key: rowLag50 + "-kernel", title: "lag p50, kernel to kernel on both", unit: "us", note: "conntrackd with DisableExternalCache"},
		row{key: rowLag99 + "-kernel", title: "lag p99, kernel to kernel on both", unit: "us", note: "conntrackd with DisableExternalCache"},
		row{key: rowIdle, title: "CPU of an idle pair", unit: "% of a core", note: "limit: conntrackd's + 0.1; goal: + 0.02"},
		row{key: rowPacketsRate, title: "new connections/s through the router", unit: "k/s", more: true, least: 1},
		row{key: rowPacketsCost, title: "kernel's CPU per connection, forwarding", unit: "us", least: 1},
	)
}

// floors are what no daemon can do for less, and what the generator can do.
func floors() []row {
	return []row{
		{key: rowFloorRecv, title: "receive and decode an event, nothing else", unit: "us"},
		{key: rowFloorBursts, title: "receive and decode an event, bursts of 128", unit: "us"},
		{key: rowFloorQueue, title: "the same through the socket's queue", unit: "us"},
		{key: rowFloorQueueB, title: "the same through the socket's queue, bursts of 128", unit: "us"},
		{key: rowFloorInject, title: "create a flow with NAT, in batches, nobody listening", unit: "us"},
		{key: rowFullSpeed, title: "the generator alone, nobody listening", unit: "k/s"},
		{key: rowPacketsRate, title: "new connections/s through the router, nobody listening", unit: "k/s"},
		{key: rowPacketsCost, title: "kernel's CPU per connection, nobody listening", unit: "us"},
	}
}
