package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

func machine() map[string]string {
	m := map[string]string{"cpus": strconv.Itoa(runtime.NumCPU()), "cpu": "unknown CPU"}
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m["cpu"] = strings.TrimSpace(value)
			break
		}
	}
	b, _ = os.ReadFile("/proc/meminfo")
	if line, _, ok := strings.Cut(string(b), "\n"); ok {
		m["memory"] = strings.TrimSpace(strings.TrimPrefix(line, "MemTotal:"))
	}
	for _, key := range []string{"nf_conntrack_max", "nf_conntrack_buckets"} {
		b, _ := os.ReadFile("/proc/sys/net/netfilter/" + key)
		m[key] = strings.TrimSpace(string(b))
	}
	return m
}

func versions(program string) map[string]string {
	return map[string]string{
		"linux":      firstLine("uname", "-r"),
		"ctsync":     strings.TrimPrefix(firstLine(program, "version"), "ctsync "),
		"conntrackd": firstLine("dpkg-query", "-W", "-f", "${Version}", "conntrackd"),
		"go":         runtime.Version(),
	}
}

func firstLine(command string, args ...string) string {
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// loadAverage is of the last minute.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
