package web

import (
	"context"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

// serveMetrics answers Prometheus: the whole mesh as this device sees it, and what its
// parts tell. Nothing is counted or kept before somebody scrapes.
func (a *handler) serveMetrics(mux *http.ServeMux, own []prometheus.Collector) {
	scrape := sync.OnceValue(func() http.Handler {
		r := prometheus.NewRegistry()
		r.MustRegister(meshCollector{a.app}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		r.MustRegister(own...)
		return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if door.Require(w, r, protocol.RightRead) {
			scrape().ServeHTTP(w, r)
		}
	})
}

// meshCollector tells of each device that is in the mesh. A device that is gone is
// left out: an alert asks for absent series.
type meshCollector struct{ app protocol.App }

// A gauge is one figure of a device.
type gauge struct {
	desc *prometheus.Desc
	// work says that only a node has it; zero means "not known" where known is set.
	work, known bool
	of          func(*protocol.Device) float64
}

func nodeGauge(name, help string, work, known bool, of func(*protocol.Device) float64) gauge {
	return gauge{prometheus.NewDesc("hearth_node_"+name, help, []string{"node", "peer"}, nil), work, known, of}
}

var gauges = [...]gauge{
	nodeGauge("up", "1 for each device in the mesh.", false, false, func(*protocol.Device) float64 { return 1 }),
	nodeGauge("ready", "1 where the device takes new work.", false, false, func(d *protocol.Device) float64 {
		if s := &d.Status; s.Role == protocol.RoleNode && !s.Draining && len(s.MissingLimits) == 0 {
			return 1
		}
		return 0
	}),
	nodeGauge("score", "How able and how idle the node is; higher is better.", true, false, func(d *protocol.Device) float64 { return d.Status.Score }),
	nodeGauge("running", "Executions that run there.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.Running) }),
	nodeGauge("queued", "Executions that wait there.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.Queued) }),
	nodeGauge("cpu_lent", "Cores that the node lends.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.CPUs) }),
	nodeGauge("cpu_free", "Cores of those that no execution has.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.CPUFree) }),
	nodeGauge("cpu_others", "Cores that other programs use.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.CPUOthers) }),
	nodeGauge("memory_lent_bytes", "Memory that the node lends.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.MemoryTotal) }),
	nodeGauge("memory_free_bytes", "Memory that a new execution could get.", true, false, func(d *protocol.Device) float64 { return float64(d.Status.MemoryFree) }),
	nodeGauge("disk_free_bytes", "Disk that is left where images are kept.", true, true, func(d *protocol.Device) float64 { return float64(d.Status.DiskFree) }),
	nodeGauge("temperature_celsius", "That of the hottest sensor.", true, true, func(d *protocol.Device) float64 { return float64(d.Status.Temperature) }),
	nodeGauge("throttled", "The share of its speed that heat or power takes away, 0 to 1.", true, false, func(d *protocol.Device) float64 { return d.Status.Throttled }),
	nodeGauge("rtt_seconds", "The round trip from this device.", false, true, func(d *protocol.Device) float64 { return d.RTT.Seconds() }),
	nodeGauge("score_age_seconds", "How old what is known of the device is.", false, false, func(d *protocol.Device) float64 { return d.Age.Seconds() }),
}

// Describe implements prometheus.Collector.
func (meshCollector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c meshCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	err := c.app.Devices(ctx, false, func(ds []protocol.Device) error {
		for i := range ds {
			d := &ds[i]
			for _, g := range gauges {
				value := g.of(d)
				if g.work && d.Status.Role != protocol.RoleNode || g.known && value == 0 {
					continue
				}
				out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, d.Status.Name, string(d.Status.Node))
			}
		}
		return nil
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(gauges[0].desc, err)
	}
}
