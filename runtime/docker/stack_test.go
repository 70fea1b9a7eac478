package docker

import (
	"testing"

	"github.com/hearth-edge/hearth/runtime/runtimetest"
	"github.com/hearth-edge/hearth/runtime/stack"
)

const stackImage = "hearth-drivertest:stacks"

func TestStackConformance(t *testing.T) {
	runtimetest.BusyboxImage(t, stackImage)
	runtimetest.StackConformance(t, func(t *testing.T) stack.Engine { return newTestDriver(t).Stacks() }, runtimetest.StackOptions{
		Image: stackImage, Missing: "hearth-drivertest:missing", Script: runtimetest.BusyboxScript(),
		Other: func(t *testing.T) stack.Engine {
			return newTestDriver(t, func(c *Config) { c.Node = "another" }).Stacks()
		},
		Kill: func(t *testing.T, id string) {
			if err := newTestDriver(t).client.Load().ContainerKill(testContext(t), id, "KILL"); err != nil {
				t.Fatal(err)
			}
		},
	})
}
