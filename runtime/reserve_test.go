package runtime_test

import (
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// TestReserveLeavesLessToRequests: what stacks hold takes no slot, and a request
// that asks for nothing still fits into what is left.
func TestReserveLeavesLessToRequests(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		before := b.node.State()
		b.node.Reserve(0, 1<<30)
		after := b.node.State()
		if after.MemoryFree != 1<<30 || after.CPUFree != before.CPUFree || after.Load.Slots != before.Load.Slots {
			t.Errorf("free %s and %v cores, %d slots; before %s, %v, %d", after.MemoryFree, after.CPUFree, after.Load.Slots,
				before.MemoryFree, before.CPUFree, before.Load.Slots)
		}
		if here := b.node.Here(); here.Lent.Memory != 2<<30 {
			t.Errorf("the node lends %s in all", here.Lent.Memory)
		}
		b.node.Reserve(100, 1<<40)
		if least := b.node.State(); least.MemoryFree < 64<<20 || least.CPUFree <= 0 || least.Load.Slots == 0 {
			t.Errorf("nothing is left for requests: %+v", least.Load)
		}
		b.node.Reserve(0, 0)
		if again := b.node.State(); again.MemoryFree != before.MemoryFree || again.CPUFree != protocol.Cores(2) {
			t.Errorf("%s, %v cores free after all was given back", again.MemoryFree, again.CPUFree)
		}
	})
}
