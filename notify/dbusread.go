package notify

import (
	"context"
	"encoding/xml"
	"fmt"
	"path"

	"github.com/godbus/dbus/v5"

	"ctsync/vrrp"
)

// busStates are keepalived's numbers of states on the bus. 0 is the one before the first.
var busStates = map[uint32]vrrp.State{
	0: vrrp.Unknown, 1: vrrp.Backup, 2: vrrp.Master, 3: vrrp.Fault, 97: vrrp.Deleted, 98: vrrp.Stop,
}

// maxDepth and maxInstances bound the tree of objects: /org/keepalived/Vrrp1[/NETNS][/CONFIG]/Instance/IF/VRID/IPv4.
const (
	maxDepth     = 8
	maxInstances = 1024
)

// readAll reads the state of every instance and tells it. The first failure ends it: the others would cost
// a timeout each.
func (s *busSession) readAll(ctx context.Context) {
	if s.owner == "" {
		return
	}
	if len(s.names) == 0 {
		paths, err := s.instances(ctx, rootPath, nil, 0)
		if err != nil {
			s.report(err)
			return
		}
		s.names = map[dbus.ObjectPath]string{}
		for _, p := range paths {
			s.names[p] = ""
		}
	}
	for p := range s.names {
		name, state, err := s.read(ctx, p)
		if err != nil {
			s.report(err)
			s.names = nil // it may have gone with a reload: look again
			return
		}
		s.tell(name, state)
	}
}

// instances walks the tree of objects by introspection, which takes about 1 ms in all.
func (s *busSession) instances(ctx context.Context, at dbus.ObjectPath, found []dbus.ObjectPath, depth int) ([]dbus.ObjectPath, error) {
	var text string
	if err := s.call(ctx, s.owner, at, "org.freedesktop.DBus.Introspectable.Introspect").Store(&text); err != nil {
		return nil, fmt.Errorf("notify: list keepalived's instances by D-Bus: %w", err)
	}
	var node struct {
		Interfaces []struct {
			Name string `xml:"name,attr"`
		} `xml:"interface"`
		Nodes []struct {
			Name string `xml:"name,attr"`
		} `xml:"node"`
	}
	if err := xml.Unmarshal([]byte(text), &node); err != nil {
		return nil, fmt.Errorf("notify: list keepalived's instances by D-Bus: %w", err)
	}
	for _, i := range node.Interfaces {
		if i.Name == instanceInterface {
			found = append(found, at)
		}
	}
	var err error
	for _, n := range node.Nodes {
		below := dbus.ObjectPath(path.Join(string(at), n.Name))
		if depth >= maxDepth || len(found) >= maxInstances || !below.IsValid() {
			continue
		}
		if found, err = s.instances(ctx, below, found, depth+1); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// read reads one instance's state, and its name where that is not known yet.
func (s *busSession) read(ctx context.Context, at dbus.ObjectPath) (string, vrrp.State, error) {
	s.reads.Add(1)
	number, err := first[uint32](s.property(ctx, at, "State"))
	if err != nil {
		return "", 0, fmt.Errorf("notify: read the state of %s by D-Bus: %w", at, err)
	}
	state, ok := busStates[number]
	if !ok {
		return "", 0, fmt.Errorf("notify: %s is in state %d, which is not known", at, number)
	}
	if name := s.names[at]; name != "" {
		return name, state, nil
	}
	name, err := first[string](s.property(ctx, at, "Name"))
	if err != nil {
		return "", 0, fmt.Errorf("notify: read the name of %s by D-Bus: %w", at, err)
	}
	if s.names == nil {
		s.names = map[dbus.ObjectPath]string{}
	}
	s.names[at] = name
	return name, state, nil
}

func (s *busSession) property(ctx context.Context, at dbus.ObjectPath, name string) (v any, err error) {
	err = s.call(ctx, s.owner, at, "org.freedesktop.DBus.Properties.Get", instanceInterface, name).Store(&v)
	return v, err
}

// first takes the first field of a structure, or the value itself: keepalived before 2.2.8 gives the Name,
// declared as a string, as a structure with one.
func first[T any](v any, err error) (value T, _ error) {
	if err != nil {
		return value, err
	}
	if variant, ok := v.(dbus.Variant); ok {
		v = variant.Value()
	}
	if fields, ok := v.([]any); ok && len(fields) > 0 {
		v = fields[0]
	}
	value, ok := v.(T)
	if !ok {
		return value, fmt.Errorf("a %T where a %T was expected", v, value)
	}
	return value, nil
}

// call calls a method within readTimeout. It never starts a service: keepalived is no such.
func (s *busSession) call(ctx context.Context, to string, at dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return s.conn.Object(to, at).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
}
