package mdns

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// A packet that makes this device panic is lost, and a thousand of them do not
// fill the log.
func TestPanicsAreContained(t *testing.T) {
	var out bytes.Buffer
	g := newPacketLimiter(slog.New(slog.NewTextHandler(&out, nil)))
	for range 1000 {
		g.contain(netip.MustParseAddr("10.0.0.1"), func() { panic("boom") })
	}
	if n := strings.Count(out.String(), "boom"); n != 1 || !strings.Contains(out.String(), "TestPanicsAreContained") {
		t.Errorf("%d log lines:\n%s", n, out.String())
	}
}
