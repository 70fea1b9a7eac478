package bench
import ("testing";"time";"github.com/hearth-edge/hearth/testnet";"github.com/hearth-edge/hearth/testnet/netns")
func TestTmpJoin(t *testing.T) {
	secret := testnet.NewSecret(t)
	lan := netns.New(t)
	options := testnet.Options{Secret: secret, Args: []string{"-v"}}
	first := lan.AddHost("first").StartNode(t, options)
	second := lan.AddHost("second").StartNode(t, options)
	host := lan.AddHost("third")
	first.WaitNodes(2)
	watch := first.Watch()
	<-time.After(6*time.Second)
	start := time.Now()
	options.Name="joiner"
	n := host.LaunchNode(t, options)
	watch.Until("x", func(ds []testnet.Device) bool { _, ok := testnet.Find(ds, "joiner"); return ok })
	t.Log("connected", time.Since(start))
	watch.Until("x", func(ds []testnet.Device) bool { d, _ := testnet.Find(ds, "joiner"); return d.Score > 0 })
	t.Log("usable", time.Since(start))
	t.Log("start", start.UTC().Format("15:04:05.000"))
	<-time.After(2*time.Second)
	t.Log(n.Log()); t.Log("FIRST\n", first.Log()); t.Log("SECOND\n", second.Log())
}
