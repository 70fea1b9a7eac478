package outbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

func attic(running uint32) protocol.Device {
	return protocol.Device{Self: true, Status: protocol.Status{Node: "P1", Name: "attic", Role: protocol.RoleNode, Running: running, MemoryFree: 3<<30 + 77, Temperature: 51, Version: "v1"}}
}

func cellar() protocol.Device {
	return protocol.Device{Status: protocol.Status{Node: "P2", Name: "cel+l#ar", Role: protocol.RoleDevice}}
}

const (
	atticTopic  = "hearth/hxb25o2sbgq6/devices/attic"
	cellarTopic = "hearth/hxb25o2sbgq6/devices/cel_l_ar"
)

func TestBrokerHearsOfDevicesAndRequests(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte("tr0ub4dor\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMosquitto(t)
	l := m.listen("", "")
	app := newFakeApp()
	o, end := run(t, app, "mqtt://hearth@"+m.addr+"#secret-file="+secret)
	app.devices <- []protocol.Device{attic(1), cellar()}
	l.wait(t, atticTopic, `"online":true,"role":"node","running":1,"queued":0,"memory_free":3221225472,"temperature":50`)
	l.wait(t, cellarTopic, `"online":true`)
	l.wait(t, "homeassistant/device/hearth_P1/config", `"state_topic":"`+atticTopic+`"`)

	// An idle device whose memory moves a little has nothing to tell.
	idle := attic(1)
	idle.Status.MemoryFree += 1 << 20
	app.devices <- []protocol.Device{idle, cellar()}
	app.devices <- []protocol.Device{attic(2)}
	l.wait(t, atticTopic, `"running":2`)
	l.wait(t, cellarTopic, `"online":false`)
	if n := l.count[atticTopic]; n != 2 {
		t.Errorf("%d messages of the attic, want 2", n)
	}

	app.events <- protocol.Event{Request: "r1", State: protocol.StatePulling, Progress: &protocol.Progress{}}
	app.events <- protocol.Event{Request: "r1", State: protocol.StateFailed, Exited: true, ExitCode: 3, Node: "P1"}
	l.wait(t, "hearth/hxb25o2sbgq6/requests/r1", `"state":"failed","exit_code":3`)
	l.wait(t, atticTopic, `"last_failed":"r1"`)
	if late := m.listen("", ""); late.count["hearth/hxb25o2sbgq6/requests/r1"] > 0 {
		t.Error("an event is retained")
	} else {
		late.wait(t, atticTopic, `"last_failed":"r1"`)
	}
	for _, c := range o.Checks() {
		if c.Level != protocol.LevelOK || strings.Contains(c.Finding, "tr0ub4dor") {
			t.Errorf("doctor: %+v", c)
		}
	}
	end()
	l.wait(t, atticTopic, `"online":false`)
}

// What happens while the broker is gone comes when it is back, and what it kept is
// told again.
func TestBrokerGoneAndBack(t *testing.T) {
	m := newMosquitto(t)
	app := newFakeApp()
	o, _ := run(t, app, "mqtt://"+m.addr)
	l := m.listen("", "")
	app.devices <- []protocol.Device{attic(1)}
	l.wait(t, atticTopic, `"running":1`)
	m.stop()
	app.events <- protocol.Event{Request: "away", State: protocol.StateSucceeded, Exited: true}
	waitFor(t, "doctor tells", func() bool { return o.Checks()[0].Level == protocol.LevelWarning })
	m.start()
	l = m.listen("", "")
	l.wait(t, atticTopic, `"running":1`)
	waitFor(t, "doctor is content", func() bool { return o.Checks()[0].Level == protocol.LevelOK })
	app.events <- protocol.Event{Request: "after", State: protocol.StateSucceeded, Exited: true}
	l.wait(t, "hearth/hxb25o2sbgq6/requests/after", `"succeeded"`)
}

// The will tells of a device that went without a word: its connection is cut.
func TestWillOfADeviceThatIsCutOff(t *testing.T) {
	m := newMosquitto(t)
	between, cut := forward(t, m.addr)
	app := newFakeApp()
	run(t, app, "mqtt://"+between)
	l := m.listen("", "")
	app.devices <- []protocol.Device{attic(1)}
	l.wait(t, atticTopic, `"online":true`)
	cut()
	l.wait(t, atticTopic, `"online":false`)
}

// forward passes one connection on to addr, until it is cut.
func forward(t *testing.T, addr string) (between string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	cut = func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	}
	var copies sync.WaitGroup
	copies.Go(func() { // ends with the listener
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		conns = append(conns, in, out)
		mu.Unlock()
		copies.Go(func() { _, _ = io.Copy(out, in) })
		copies.Go(func() { _, _ = io.Copy(in, out) })
	})
	t.Cleanup(func() { cut(); copies.Wait() })
	return l.Addr().String(), cut
}

func TestBrokerRefusesThePassword(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous false")
	o, _ := run(t, newFakeApp(), "mqtt://hearth@"+m.addr)
	waitFor(t, "doctor tells", func() bool {
		c := o.Checks()[0]
		return c.Level == protocol.LevelWarning && strings.Contains(strings.ToLower(c.Finding), "not authorized")
	})
}

// A webhook gets signed JSON, five tries at most, and what it does not take is counted.
func TestWebhook(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	tries, taken := map[string]int{}, []string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var c change
		if err := json.Unmarshal(body, &c); err != nil || r.Header.Get(signatureHeader) != sign([]byte("key"), body) || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, %v, %v", body, err, r.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		id := string(c.Event.Request)
		tries[id]++
		if id == "never" || id == "late" && tries[id] < 5 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		taken = append(taken, id)
	}))
	defer server.Close()
	app := newFakeApp()
	o, _ := run(t, app, server.URL+"/hook#secret-file="+key)
	for _, id := range []protocol.RequestID{"first", "never", "late", "last"} {
		app.events <- protocol.Event{Request: id, State: protocol.StateSucceeded, Exited: true}
	}
	waitFor(t, "all were tried", func() bool { mu.Lock(); defer mu.Unlock(); return len(taken) == 3 })
	if got := fmt.Sprint(taken, tries["never"], tries["late"]); got != "[first late last] 5 5" {
		t.Error(got)
	}
	waitFor(t, "doctor counts", func() bool { return strings.Contains(o.Checks()[0].Finding, "1 were dropped") })
}

// A webhook that never answers holds up nobody: past the queue's bound the oldest is
// dropped.
func TestWebhookThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	app := newFakeApp()
	o, end := run(t, app, "http://"+l.Addr().String()+"/")
	for range maxQueue + 10 {
		app.events <- protocol.Event{Request: "r", State: protocol.StateSucceeded, Exited: true}
	}
	waitFor(t, "doctor counts", func() bool { return strings.Contains(o.Checks()[0].Finding, "were dropped") })
	end()
}

func TestBadTargets(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"": "not of the form", "broker": "not of the form", "mqtt://": "not of the form", "ftp://host": "neither mqtt",
		"mqtt://u:hunter2@host":             "a password there is seen by all users",
		"mqtt://host#secret-file=/nosuch":   "no such file",
		"mqtt://host#secret-file=" + open:   "chmod 600",
		"mqtt://host#ca-file=" + open:       "#ca-file: not known for mqtt",
		"https://host/#ca-file=" + open:     "has no certificate",
		"https://host/#password=x":          "#password: not known",
		"https://host/#secret-file=%zz":     "",
		"mqtt://host#secret-file=/dev/zero": "",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if got := mustParse(t, "mqtts://user@broker").String(); got != "mqtts://user@broker:8883" {
		t.Error(got)
	}
	// What is in the path is often the key.
	if got := mustParse(t, "https://hooks.example/T0/KEY?k=v").String(); got != "https://hooks.example" {
		t.Error(got)
	}
}

func mustParse(t *testing.T, text string) *Target {
	t.Helper()
	target, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func FuzzParse(f *testing.F) {
	f.Add("mqtt://user@broker:1#secret-file=/nosuch")
	f.Add("https://[::1]:9/x?y=z")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "file") {
			return // files of this machine
		}
		if target, err := Parse(text); err == nil && target.url.Host == "" {
			t.Errorf("%q has no host", text)
		}
	})
}

func TestBrokersOfTheEdgeAPI(t *testing.T) {
	m := newMosquitto(t)
	b := NewBrokers(nil)
	defer b.Close()
	if _, ok := b.Data(m.addr, "kitchen1", "app"); ok {
		t.Error("not subscribed, and there is data")
	}
	if err := b.Subscribe(t.Context(), m.addr, "kitchen1", "app"); err != nil {
		t.Fatal(err)
	}
	if address, err := b.Publish(t.Context(), m.addr, "kitchen1", "21 degrees"); err != nil || address != "tcp://"+m.addr {
		t.Fatal(address, err)
	}
	has := func(app, text string) {
		t.Helper()
		waitFor(t, app+" has "+text, func() bool { got, ok := b.Data(m.addr, "kitchen1", app); return ok && got == text })
	}
	has("app", "21 degrees")
	// One that comes later gets what is retained.
	if err := b.Subscribe(t.Context(), m.addr, "kitchen1", "late"); err != nil {
		t.Fatal(err)
	}
	has("late", "21 degrees")
	// The broker goes and comes back: what is subscribed is so again.
	m.stop()
	waitFor(t, "the publisher is told", func() bool { _, err := b.Publish(t.Context(), m.addr, "kitchen1", "x"); return err != nil })
	m.start()
	if _, err := b.Publish(t.Context(), m.addr, "kitchen1", "22 degrees"); err != nil {
		t.Fatal(err)
	}
	has("app", "22 degrees")
	for _, topic := range []string{"", "a/+/b", "#", strings.Repeat("x", maxName+1)} {
		if err := b.Subscribe(t.Context(), m.addr, topic, "app"); err == nil {
			t.Errorf("topic %q is subscribed", topic)
		}
	}
	for _, host := range []string{"a b", "u@h", "h/x", "h:1:2"} {
		if _, err := b.Publish(t.Context(), host, "t", "x"); err == nil {
			t.Errorf("host %q is asked", host)
		}
	}
}
