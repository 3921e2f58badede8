package metrics

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ctsync/engine"
)

func source() (engine.Status, []Link) {
	return engine.Status{
		Role: engine.Active, RoleSince: time.Unix(1000, 0), Verdict: engine.Degraded, Ready: engine.Ready,
		Internal: engine.CacheStats{Active: 10, Created: 8517, Updated: 127, Destroyed: 8507},
		Young:    4,
		Kernel:   engine.KernelStats{Suspects: 6, Overruns: 3, Failed: map[string]int{"the table is full": 7}},
		Messages: engine.MessageStats{Lost: 5, Refused: map[string]uint64{"wrong checksum": 2}},
		Peers:    []engine.PeerStatus{{Name: "r2", Epoch: "aabb", Live: true, Have: 90, Last: 100, TheyHave: 7, OwnLast: 10}},
	}, []Link{{Interface: "eth2", Up: true, BytesSent: 868000}, {Interface: "eth2", BytesSent: 780}, {Interface: "eth3"}}
}

func TestScrape(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(source).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	for _, want := range []string{
		`ctsync_role{role="active"} 1`, `ctsync_role{role="standby"} 0`, `ctsync_role_since_seconds 1000`,
		`ctsync_verdict 1`, `ctsync_ready 1`, `ctsync_flows{cache="internal"} 10`, `ctsync_flows_young 4`,
		`ctsync_flow_changes_total{cache="internal",change="created"} 8517`, `ctsync_kernel_overruns_total 3`,
		`ctsync_kernel_flows_failed{reason="the table is full"} 7`, `ctsync_lost_total 5`, `ctsync_kernel_flows_suspect 6`,
		`ctsync_datagrams_refused_total{reason="wrong checksum"} 2`, `ctsync_peer_live{peer="r2/aabb"} 1`,
		`ctsync_peer_behind{peer="r2/aabb"} 10`, `ctsync_peer_lacks{peer="r2/aabb"} 3`,
		`ctsync_link_up{interface="eth2"} 1`, `ctsync_link_bytes_total{direction="sent",interface="eth2"} 868780`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	addr := netip.MustParseAddrPort("127.0.0.1:39780")
	go func() { done <- Serve(ctx, addr, source) }()
	var text []byte
	for range 100 {
		if r, err := http.Get("http://127.0.0.1:39780/metrics"); err == nil {
			text, _ = io.ReadAll(r.Body)
			r.Body.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(string(text), "ctsync_verdict") {
		t.Error("no metrics are served")
	}
	if err := Serve(ctx, addr, source); err == nil || !strings.Contains(err.Error(), "choose another address") {
		t.Errorf("a taken address: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
