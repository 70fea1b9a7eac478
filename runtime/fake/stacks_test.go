package fake_test

import (
	"testing"

	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
	"github.com/hearth-edge/hearth/runtime/stack"
)

func TestStackConformance(t *testing.T) {
	engine := fake.NewEngine(fake.Config{Images: map[string]fake.Image{"image": {Size: 1}}})
	defer engine.Close()
	mine := engine.Stacks("mesh", "mine")
	runtimetest.StackConformance(t, func(*testing.T) stack.Engine { return mine }, runtimetest.StackOptions{
		Image: "image", Missing: "missing", Script: script(),
		Other: func(*testing.T) stack.Engine { return engine.Stacks("mesh", "other") },
		Kill: func(t *testing.T, id string) {
			c, err := mine.Container(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			mine.Signal(c.Stack, c.Service, "KILL", false)
		},
	})
}
