package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/hearth-edge/hearth/protocol"
)

// TestMetrics: one scrape shows the whole mesh, with names as Prometheus has them and
// few series a device; what is not known, or no device's business, is left out.
func TestMetrics(t *testing.T) {
	r := start(t)
	attic, phone := deviceNamed("attic", false), deviceNamed("phone", false)
	attic.Status.Temperature, attic.RTT = 0, 0
	phone.Status.Role = protocol.RoleDevice
	r.app.setDevices(deviceNamed("porch", true), attic, phone)
	got := r.ask("GET", "/metrics", "")
	got.wants(t, "scrape", 200, `hearth_node_up{node="porch",peer="12D3KooWporch"} 1`)
	for _, line := range []string{
		`hearth_node_memory_free_bytes{node="porch",peer="12D3KooWporch"} 3.221225472e+09`, `hearth_node_temperature_celsius{node="porch",peer="12D3KooWporch"} 51`,
		`hearth_node_rtt_seconds{node="porch",peer="12D3KooWporch"} 0.001`, `hearth_node_ready{node="phone",peer="12D3KooWphone"} 0`, "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(got.body, line) {
			t.Errorf("there is no %s", line)
		}
	}
	for _, line := range []string{`hearth_node_temperature_celsius{node="attic"`, `hearth_node_score{node="phone"`, `hearth_node_rtt_seconds{node="attic"`} {
		if strings.Contains(got.body, line) {
			t.Errorf("there is %s", line)
		}
	}
	if n := strings.Count(got.body, `{node="porch"`); n > 16 {
		t.Errorf("a device has %d series", n)
	}
	problems, err := promlint.New(strings.NewReader(got.body)).Lint()
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "hearth_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if err != nil {
		t.Error(err)
	}
	r.ask("GET", "/metrics", "", func(q *http.Request) { q.Header.Del("Authorization") }).wants(t, "without a token", 401, "unauthorized")
	r.app.fails = protocol.Errorf(protocol.CodeLeaving, "it ends")
	r.ask("GET", "/metrics", "").wants(t, "a device that ends", 500, "it ends")
}

var _ prometheus.Collector = meshCollector{}
