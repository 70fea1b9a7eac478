package device

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/p2p"
	"github.com/hearth-edge/hearth/p2p/netif"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/docker"
)

// engineTimeout bounds how long a check waits for the container engine.
const engineTimeout = 3 * time.Second

func ok(name, format string, args ...any) protocol.Check {
	return protocol.Check{Name: name, Finding: fmt.Sprintf(format, args...)}
}

func warning(name, advice, format string, args ...any) protocol.Check {
	return protocol.Check{Name: name, Level: protocol.LevelWarning, Finding: fmt.Sprintf(format, args...), Advice: advice}
}

func problem(name, advice, format string, args ...any) protocol.Check {
	return protocol.Check{Name: name, Level: protocol.LevelProblem, Finding: fmt.Sprintf(format, args...), Advice: advice}
}

// diagnose runs every check on the running device.
func (d *Device) diagnose(ctx context.Context) []protocol.Check {
	checks := []protocol.Check{
		ok("device", "%s is up as %s", d.cfg.Name, d.id),
		CheckSecret(d.cfg.Secret),
		CheckState(d.cfg.StateDir),
		CheckInterfaces(d.cfg.Interfaces),
		d.checkMulticast(ctx),
		d.checkAddress(),
		d.checkEngine(),
		d.checkPeers(),
	}
	if d.runtime != nil {
		if limits, any := checkLimits(&d.cfg.Policy, d.runtime.State().Info.NoLimits); any {
			checks = append(checks, limits)
		}
	}
	if ports, any := d.checkPorts(); any {
		checks = append(checks, ports)
	}
	status := d.gossip.last()
	if heat, known := checkHeat(&status); known {
		checks = append(checks, heat)
	}
	if dropped, any := checkDropped(d.mesh.Stats()); any {
		checks = append(checks, dropped)
	}
	checks = append(checks, d.outbox.Checks()...)
	for _, s := range d.mesh.Strangers() {
		mesh := "of another mesh (fingerprint not told"
		if s.Fingerprint != "" {
			mesh = "of another mesh (fingerprint " + s.Fingerprint
		}
		checks = append(checks, warning("stranger", "if it should be in this mesh, give it this mesh's secret",
			"saw device at %s %s, ours is %s)", s.Address, mesh, d.cfg.Secret.Fingerprint()))
	}
	for _, p := range d.mesh.SmallPackets() {
		checks = append(checks, warning("mtu", "look for a tunnel, PPPoE or a Wi-Fi bridge with a smaller MTU between the two, and let ICMP 'fragmentation needed' through",
			"large packets between this device and %s at %s get lost; connections between them use small ones, which is slower", p.Name, p.Address))
	}
	for _, p := range d.mesh.OtherVersions() {
		checks = append(checks, problem("version", "install the same version of hearth on both ('hearth version' shows it)",
			"device %s at %s is of this mesh, but of another version", p.Name, p.Address))
	}
	return append(append(checks, d.checkNames()...), d.checkStacks(ctx)...)
}

// checkDropped tells what was dropped of what others sent, if anything.
func checkDropped(s p2p.Stats) (protocol.Check, bool) {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(s.Statuses)) {
		if why == "sequence" || why == "early" {
			continue // as when a newer one was quicker, or the device joined just then
		}
		text := why
		if why == "indirect" {
			text = "of devices that tell none themselves"
		}
		parts = append(parts, fmt.Sprintf("%d scores (%s)", s.Statuses[why], text))
	}
	if s.Evicted > 0 {
		parts = append(parts, fmt.Sprintf("%d connections that were too many at once", s.Evicted))
	}
	if len(parts) == 0 {
		return protocol.Check{}, false
	}
	return warning("dropped", "many of them mean a device that is broken, of another version, or hostile: look at this device's log", "since the start: %s", strings.Join(parts, ", ")), true
}

// CheckSecret tells the fingerprint of the mesh.
func CheckSecret(s keys.Secret) protocol.Check {
	return ok("secret", "fingerprint %s; every device of the mesh must show the same", s.Fingerprint())
}

// What to do where there is no network that a mesh can use.
const (
	plugIn      = "plug in the cable or join the Wi-Fi; the mesh is joined as soon as the network comes"
	giveAddress = "give the interface an address by DHCP, by hand, or of 169.254.0.0/16 (in NetworkManager: ipv4.method link-local), on each device"
)

// noNetwork says why others cannot be reached by any of these interfaces; empty where
// nothing speaks against it.
func noNetwork(list []netif.Interface) string {
	var linkLocal []string
	for _, i := range list {
		if i.Loopback {
			continue
		}
		if slices.ContainsFunc(i.Addrs, func(a netip.Addr) bool { return a.Is4() || !a.IsLinkLocalUnicast() }) {
			return ""
		}
		linkLocal = append(linkLocal, i.Name)
	}
	if len(linkLocal) == 0 {
		return "there is no network"
	}
	return fmt.Sprintf("%s: only link-local IPv6 addresses, by which devices cannot be connected to", strings.Join(linkLocal, ", "))
}

// CheckInterfaces tells which network interfaces are used; only as in Config.
func CheckInterfaces(only []string) protocol.Check {
	const name = "interfaces"
	list, err := netif.List(only)
	if err != nil {
		return problem(name, "name interfaces that exist with --interface, or none to use all", "%v", err)
	}
	var found []string
	outside, multicast := false, false
	for _, i := range list {
		var addrs []string
		for _, a := range i.Addrs {
			addrs = append(addrs, a.String())
		}
		found = append(found, fmt.Sprintf("%s (%s)", i.Name, strings.Join(addrs, ", ")))
		outside = outside || !i.Loopback
		multicast = multicast || i.Multicast
	}
	switch text := strings.Join(found, "; "); {
	case len(list) == 0:
		return problem(name, plugIn, "no network")
	case !outside:
		return warning(name, plugIn, "no network: only %s", text)
	case noNetwork(list) != "":
		return problem(name, giveAddress, "%s", noNetwork(list))
	case !multicast:
		return warning(name, "name other devices with --peer ADDR; one is enough", "%s; none of them can do multicast", text)
	default:
		return ok(name, "%s", text)
	}
}

func (d *Device) checkMulticast(ctx context.Context) protocol.Check {
	const name = "multicast"
	const advice = "allow UDP port 5353 in the firewall, switch off 'client isolation' on the Wi-Fi access point, or name a device with --peer ADDR; one is enough"
	found := d.mesh.Discovery()
	list, err := netif.List(d.cfg.Interfaces)
	switch why := noNetwork(list); {
	case !found.Enabled:
		return warning(name, "devices are found by --peer and from earlier starts only", "discovery is switched off")
	case err == nil && why != "":
		return warning(name, "see 'interfaces' above", "not tried: %s", why)
	case found.Err != nil:
		return problem(name, advice, "%v", found.Err)
	}
	if deaf := d.mesh.MulticastBlocked(ctx); len(deaf) > 0 {
		return problem(name, advice, "a multicast on %s does not even come back to this device: a firewall on it blocks them", strings.Join(deaf, ", "))
	}
	switch {
	case found.LastSeen.IsZero() && len(d.mesh.Peers()) > 0:
		return warning(name, advice, "no announcement of another device was heard on %s, though devices are connected", strings.Join(found.Interfaces, ", "))
	case found.LastSeen.IsZero():
		return warning(name, "if other devices are up: "+advice, "announcing on %s; no other device was heard yet", strings.Join(found.Interfaces, ", "))
	default:
		return ok(name, "announcing on %s; another device was heard %s ago", strings.Join(found.Interfaces, ", "), time.Since(found.LastSeen).Round(time.Second))
	}
}

func (d *Device) checkAddress() protocol.Check {
	addrs := d.mesh.Addresses()
	if len(addrs) == 0 {
		list, err := netif.List(d.cfg.Interfaces)
		if why := noNetwork(list); err == nil && why != "" {
			return problem("address", "see 'interfaces' above", "not listening on any address that others can reach: %s", why)
		}
		return problem("address", plugIn, "not listening on any address that others can reach")
	}
	return ok("address", "listening on %s", strings.Join(addrs, ", "))
}

// CheckEngine tells whether a container engine answers, and what it is.
func CheckEngine(ctx context.Context) protocol.Check {
	const advice = "start it (systemctl start docker), or join without running work with --driver none"
	var info runtime.Info
	err := askEngine(ctx, func(ctx context.Context, d *docker.Driver) (err error) {
		info, err = d.Info(ctx)
		return err
	})
	if err != nil {
		return problem("engine", advice, "%v", err)
	}
	if len(info.NoLimits) > 0 {
		return warning("engine", limitsAdvice(info.NoLimits), "docker %s, %s/%s, cannot limit a container's %s",
			info.Version, info.OS, info.Arch, strings.Join(info.NoLimits, ", "))
	}
	return ok("engine", "docker %s, %s/%s", info.Version, info.OS, info.Arch)
}

// askEngine asks the engine for no mesh in particular.
func askEngine(ctx context.Context, ask func(context.Context, *docker.Driver) error) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	d, err := docker.New(docker.Config{Mesh: "doctor", Node: "doctor", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer d.Close()
	return ask(ctx, d)
}

func (d *Device) checkEngine() protocol.Check {
	if d.runtime == nil {
		return warning("engine", "this device can ask for work all the same; to run work, start it without --driver none",
			"this device runs no work: %s", d.cfg.NoDriver)
	}
	state := d.runtime.State()
	if !state.Ready && d.cfg.EngineOptional && state.Info.Version == "" {
		return warning("engine", "this device can ask for work all the same; it runs work as soon as Docker is started (systemctl start docker)",
			"this device runs no work: %s", state.Reason)
	}
	if !state.Ready {
		return problem("engine", "start it (systemctl start docker); this device runs work again as soon as it answers", "%s", state.Reason)
	}
	return ok("engine", "%s %s, %s/%s; lending %s and %s", d.driver.Name(), state.Info.Version, state.Info.OS, state.Info.Arch,
		d.machine.CPUs, d.machine.Memory)
}

// checkLimits tells which limits the engine cannot keep, if any.
func checkLimits(policy *runtime.Policy, none []string) (c protocol.Check, any bool) {
	const name = "limits"
	missing := policy.MissingLimits(&runtime.Info{NoLimits: none})
	switch {
	case len(missing) > 0:
		return problem(name, limitsAdvice(missing)+"; to run containers without, put the line "+policy.LimitsWithout(missing)+" into this device's policy",
			"the engine cannot limit a container's %s: nothing runs here", strings.Join(missing, ", ")), true
	case len(none) > 0:
		return warning(name, limitsAdvice(none), "containers here have no limit on their %s, as this device's policy allows", strings.Join(none, ", ")), true
	}
	return protocol.Check{}, false
}

// limitsAdvice says what the kernel needs for these.
func limitsAdvice(missing []string) string {
	var parts []string
	if slices.Contains(missing, runtime.LimitMemory) {
		parts = append(parts, "add cgroup_enable=memory cgroup_memory=1 to the kernel's command line (on a Raspberry Pi the one line of /boot/firmware/cmdline.txt or /boot/cmdline.txt) and restart the device")
	}
	if slices.Contains(missing, runtime.LimitCPUs) {
		parts = append(parts, "use a kernel with CONFIG_CFS_BANDWIDTH")
	}
	if slices.Contains(missing, runtime.LimitPids) {
		parts = append(parts, "use a kernel with CONFIG_CGROUP_PIDS")
	}
	return strings.Join(parts, "; ") + "; an engine that is not root's needs these controllers delegated to its user"
}

// Beyond these a device should be cooled better.
const (
	hot        = 85 // °C
	muchSlower = 0.2
	heatAdvice = "give it air or a fan, and see that its power supply is strong enough; less of it to lend (--cpus) helps, too"
)

// checkHeat tells how warm the device is, and what that costs; it is not known
// of every device.
func checkHeat(s *protocol.Status) (c protocol.Check, known bool) {
	const name = "heat"
	slower := fmt.Sprintf("it runs %.0f%% below its full speed", 100*s.Throttled)
	switch {
	case s.Throttled > muchSlower && s.Temperature > 0:
		return warning(name, heatAdvice, "%s, at %d °C", slower, s.Temperature), true
	case s.Throttled > muchSlower:
		return warning(name, heatAdvice, "%s", slower), true
	case s.Temperature > hot:
		return warning(name, heatAdvice, "its hottest sensor tells %d °C", s.Temperature), true
	case s.Temperature > 0:
		return ok(name, "its hottest sensor tells %d °C", s.Temperature), true
	}
	return protocol.Check{}, false
}

func (d *Device) checkPeers() protocol.Check {
	var found []string
	for _, p := range d.mesh.Peers() {
		found = append(found, fmt.Sprintf("%s (%s, %s)", p.Name, p.Address, p.RTT.Round(10*time.Microsecond)))
	}
	if len(found) == 0 {
		return warning("peers", "start 'hearth up' with the same secret on another device; if one is up, compare 'hearth secret fingerprint' on both",
			"no other device of this mesh is connected")
	}
	return ok("peers", "%d connected: %s", len(found), strings.Join(found, "; "))
}
