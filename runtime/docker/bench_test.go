package docker

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

// BenchmarkStart measures create to started through the driver and through the
// bare Engine API, turn by turn, and reports the medians in milliseconds.
func BenchmarkStart(b *testing.B) {
	image := "hearth-drivertest:bench"
	runtimetest.BusyboxImage(b, image)
	d := newTestDriver(b)
	defer d.Close()
	bare, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	if _, err := d.Info(b.Context()); err != nil {
		b.Fatal(err)
	}

	driver := func() time.Duration {
		spec := testSpec(image, "true")
		spec.CPUs = 1
		start := time.Now()
		_, stdio, err := d.Create(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Start(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if _, err := d.Wait(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		stdio.Output.Close()
		if err := d.Remove(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		return took
	}
	engine := func() time.Duration {
		spec := testSpec(image, "true")
		spec.CPUs = 1
		config, host := containerConfig(spec, d.labels(spec))
		name := d.name(spec.ID)
		start := time.Now()
		if _, err := bare.ContainerCreate(b.Context(), config, host, nil, nil, name); err != nil {
			b.Fatal(err)
		}
		if err := bare.ContainerStart(b.Context(), name, container.StartOptions{}); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if _, err := d.Wait(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		if err := d.Remove(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		return took
	}

	var ours, bares []time.Duration
	for turn := 0; b.Loop(); turn++ {
		if turn%2 == 0 { // neither always comes after the other
			ours = append(ours, driver())
			bares = append(bares, engine())
		} else {
			bares = append(bares, engine())
			ours = append(ours, driver())
		}
	}
	report := func(times []time.Duration, unit string) {
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2])/float64(time.Millisecond), unit)
	}
	report(ours, "driver-ms")
	report(bares, "engine-ms")
}

// BenchmarkOutput measures how fast a container's output comes through the
// driver.
func BenchmarkOutput(b *testing.B) {
	image := "hearth-drivertest:output"
	runtimetest.BusyboxImage(b, image)
	d := newTestDriver(b)
	defer d.Close()
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		spec := testSpec(image, "dd", "if=/dev/zero", "bs=64k", fmt.Sprint("count=", size>>16))
		_, stdio, err := d.Create(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Start(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		got := 0
		for err == nil {
			var channel protocol.Channel
			var data []byte
			if channel, data, err = stdio.Output.Next(); channel == protocol.Stdout {
				got += len(data)
			}
		}
		if !errors.Is(err, io.EOF) || got != size {
			b.Fatalf("%d bytes, then %v", got, err)
		}
		stdio.Output.Close()
		if err := d.Remove(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
	}
}
