package device

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hearth-edge/hearth/protocol"
)

// ownCollector tells of this device's own requests and executions when it is asked.
type ownCollector struct{ d *Device }

var (
	requestsDesc   = prometheus.NewDesc("hearth_requests", "Requests of this device that are kept, by state.", []string{"state"}, nil)
	executionsDesc = prometheus.NewDesc("hearth_executions", "Executions on this device, by state.", []string{"state"}, nil)
	infoDesc       = prometheus.NewDesc("hearth_info", "What this device is.", []string{"node", "version", "mesh"}, nil)
	peersDesc      = prometheus.NewDesc("hearth_peers", "Devices connected to this one.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c ownCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, executionsDesc, infoDesc, peersDesc} {
		out <- d
	}
}

// listTimeout bounds how long the own requests take to be listed.
const listTimeout = time.Second

// Collect implements prometheus.Collector. Every state is told, so that none comes
// and goes.
func (c ownCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	info := c.d.info()
	gauge(infoDesc, 1, info.Name, info.Version, info.Fingerprint)
	gauge(peersDesc, float64(info.Peers))
	gauge(executionsDesc, float64(info.Running), "running")
	gauge(executionsDesc, float64(info.Queued), "queued")
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	count := map[protocol.State]int{}
	_, err := c.d.orch.List(ctx, true, func(i protocol.RequestInfo) error {
		count[i.Last.State]++
		return nil
	})
	if err != nil {
		out <- prometheus.NewInvalidMetric(requestsDesc, err)
		return
	}
	for state := protocol.StateAccepted; state <= protocol.StateUnknown; state++ {
		gauge(requestsDesc, float64(count[state]), state.String())
	}
}
