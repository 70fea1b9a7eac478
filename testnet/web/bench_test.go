package web_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet/inproc"
)

// onFake starts a device whose containers take no time, and returns how to ask it.
func onFake(b *testing.B) (node *inproc.Node, post func(path, body string) string) {
	b.Helper()
	mesh := inproc.Start(b, 1, inproc.Options{Configure: func(_ int, cfg *device.Config) { cfg.HTTP = "127.0.0.1:0" }})
	node = mesh.Nodes[0]
	base, token := "http://"+node.HTTP(), node.Token()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	return node, func(path, body string) string {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			b.Error(err)
			return ""
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			b.Errorf("%d, %v: %s", resp.StatusCode, err, text)
		}
		return resp.Trailer.Get("Hearth-Exit-Code")
	}
}

// BenchmarkRunByHTTP is a container from its asking to its end, by POST /v1/run;
// BenchmarkRunByApp is the same at the libp2p endpoint, which `hearth run` uses.
func BenchmarkRunByHTTP(b *testing.B) {
	_, post := onFake(b)
	for b.Loop() {
		if code := post("/v1/run?image="+inproc.Image+"&arg=exit=7", ""); code != "7" {
			b.Fatalf("exit code %q", code)
		}
	}
}

// BenchmarkRunByApp: see BenchmarkRunByHTTP.
func BenchmarkRunByApp(b *testing.B) {
	node, _ := onFake(b)
	for b.Loop() {
		s, err := node.App.Run(b.Context(), protocol.Run{Service: protocol.Service{Image: inproc.Image, Args: []string{"exit=7"}}})
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = s.Next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// BenchmarkCreate is POST /v1/requests, of many clients at once.
func BenchmarkCreate(b *testing.B) {
	_, post := onFake(b)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			post("/v1/requests", `{"service":{"image":"`+inproc.Image+`","args":["exit=0"]}}`)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
