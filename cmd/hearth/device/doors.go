package device

import (
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/cmd/hearth/door/web"
)

// buildDoors makes the ways in beside the app endpoint. The tokens are those of both.
func (d *Device) buildDoors() {
	d.tokens = door.NewTokens(d.cfg.StateDir, d.app.Token())
	d.http = door.NewServer(door.Config{
		Addr: d.cfg.HTTP, Socket: filepath.Join(d.cfg.StateDir, door.SocketFile), Tokens: d.tokens, Log: d.log,
		Handler: web.New(web.Config{App: d.appServer(), Tokens: d.tokens, Metrics: []prometheus.Collector{ownCollector{d}}}),
	})
}

// openDoors has them listen, and the apps told where.
func (d *Device) openDoors() error {
	if err := d.http.Listen(); err != nil {
		return err
	}
	d.app.TellHTTP(d.http.Addr())
	return nil
}

// HTTP returns the address that the door for people and programs listens on, once
// Ready; "" where it has none.
func (d *Device) HTTP() string { return d.http.Addr() }
