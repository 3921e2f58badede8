package wire

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
)

func testKey(b byte) Key {
	var secret [KeySize]byte
	secret[0] = b
	return NewKey(secret)
}

func sealed(t *testing.T, k Key, cluster string, h *Header, body []byte) (b []byte, headLen int) {
	t.Helper()
	b = AppendHeader(nil, h)
	headLen = len(b)
	c := NewCipher(k, cluster, h.Sender, rand.Reader)
	b, err := c.Seal(append(b, body...), headLen, h.Counter)
	if err != nil {
		t.Fatal(err)
	}
	return b, headLen
}

func TestSealOpens(t *testing.T) {
	for _, counter := range []uint64{1, 1<<31 - 1, 1 << 31, 1 << 40} {
		h := &Header{Type: Data, Cluster: 7, Sender: Epoch{1, 2}, Counter: counter, Dest: Epoch{3}}
		body := []byte("what the firewall knows")
		b, n := sealed(t, testKey(1), "VG", h, body)
		if bytes.Contains(b, body) {
			t.Error("the body is in the clear")
		}
		if len(b) != n+len(body)+SealOverhead+sumLen {
			t.Errorf("%d bytes, want %d", len(b), n+len(body)+SealOverhead+sumLen)
		}
		got, err := NewCipher(testKey(1), "VG", h.Sender, nil).Open(bytes.Clone(b), n, counter)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("counter %d: got %q, %v", counter, got, err)
		}
	}
}

// Every byte is authenticated: the header too.
func TestSealRefusesEveryChange(t *testing.T) {
	h := &Header{Type: Beat, Cluster: 7, Sender: Epoch{1, 2}, Counter: 9}
	b, n := sealed(t, testKey(1), "VG", h, []byte("body"))
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := NewCipher(testKey(1), "VG", h.Sender, nil).Open(bad, n, h.Counter); !errors.Is(err, ErrForged) {
			t.Errorf("byte %d changed: %v, want %v", i, err, ErrForged)
		}
	}
	for i := range b {
		if _, err := NewCipher(testKey(1), "VG", h.Sender, nil).Open(bytes.Clone(b[:i]), n, h.Counter); err == nil {
			t.Errorf("cut after %d bytes and opened", i)
		}
	}
}

func TestSealRefusesOthers(t *testing.T) {
	h := &Header{Type: Beat, Cluster: 7, Sender: Epoch{1, 2}, Counter: 9}
	b, n := sealed(t, testKey(1), "VG", h, []byte("body"))
	for name, c := range map[string]*Cipher{
		"another key":     NewCipher(testKey(2), "VG", h.Sender, nil),
		"another cluster": NewCipher(testKey(1), "VH", h.Sender, nil),
		"another epoch":   NewCipher(testKey(1), "VG", Epoch{2}, nil),
	} {
		if _, err := c.Open(bytes.Clone(b), n, h.Counter); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v, want %v", name, err, ErrForged)
		}
	}
	if _, err := NewCipher(testKey(1), "VG", h.Sender, nil).Open(bytes.Clone(b), n, h.Counter+1<<31); !errors.Is(err, ErrForged) {
		t.Errorf("another sub-key: %v, want %v", err, ErrForged)
	}
}

func BenchmarkSeal(b *testing.B) {
	h := &Header{Type: Data, Sender: Epoch{1}, Counter: 1}
	c := NewCipher(testKey(1), "VG", h.Sender, rand.Reader)
	head := AppendHeader(nil, h)
	body := make([]byte, 1350)
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Seal(append(append(buf, head...), body...), len(head), 1); err != nil {
			b.Fatal(err)
		}
	}
}
