package main

import (
	"io"
	"strings"
	"testing"
)

const source = `package p

func a(x bool) {
	if x {
		one()
	}
	two()
}

func b() { three() }
`

func TestReport(t *testing.T) {
	blocks, err := read(strings.NewReader(`mode: set
ctsync/p/f.go:3.16,4.7 1 1
ctsync/p/f.go:4.7,6.3 1 0
ctsync/p/f.go:7.2,7.7 1 0
ctsync/p/f.go:10.10,10.20 1 0
ctsync/p/f.go:7.2,7.7 1 1
ctsync/p/f.go:10.20,10.20 0 0
`))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	open := func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(source)), nil }
	if err := report(blocks, open, &out); err != nil {
		t.Fatal(err)
	}
	want := `p/f.go a
	4	if x {
p/f.go b
	10	func b() { three() }
ctsync/p: 2 of 4 blocks reached
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

func TestNoProfile(t *testing.T) {
	if _, err := read(strings.NewReader("ctsync/p/f.go:nonsense\n")); err == nil {
		t.Error("no error")
	}
}
