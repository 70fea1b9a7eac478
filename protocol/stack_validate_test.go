package protocol

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// validStack is the least that is one, with a part of each kind to refer to.
func validStack() Stack {
	return Stack{
		Name: "s", Networks: []StackNetwork{{Name: "front"}}, Volumes: []StackVolume{{Name: "data"}}, Files: []StackFile{{Name: "conf"}},
		Services: []StackService{{Name: "web", Image: "nginx", Restart: RestartNo}, {Name: "db", Image: "redis", Restart: RestartNo}},
	}
}

// badStacks is a way to spoil each field, and what the error must say.
func badStacks() map[string]struct {
	spoil func(s *Stack, web *StackService)
	want  string
} {
	type row = struct {
		spoil func(s *Stack, web *StackService)
		want  string
	}
	long := strings.Repeat("x", 300)
	rows := map[string]row{
		"no name":           {func(s *Stack, _ *StackService) { s.Name = "" }, "stack's name"},
		"dots and capitals": {func(s *Stack, _ *StackService) { s.Name = "My.Stack" }, "a-z, 0-9"},
		"long name":         {func(s *Stack, _ *StackService) { s.Name = StackName(long) }, "1 to 63"},
		"no service":        {func(s *Stack, _ *StackService) { s.Services = nil }, "1 to 64"},
		"many services":     {func(s *Stack, w *StackService) { s.Services = services(65) }, "services: 65"},
		"same name":         {func(s *Stack, w *StackService) { w.Name = "db" }, "two of that name"},
		"service name":      {func(s *Stack, w *StackService) { w.Name = "-x" }, "the first a letter"},
		"number":            {func(s *Stack, w *StackService) { w.Number = 201 }, "number: 201"},
		"same number":       {func(s *Stack, w *StackService) { w.Number, s.Services[1].Number = 3, 3 }, "its number 3"},
		"alias of another":  {func(s *Stack, w *StackService) { w.Aliases = []string{"DB"} }, "is that of"},
		"bad alias":         {func(s *Stack, w *StackService) { w.Aliases = []string{"a b"} }, "aliases"},
		"no image":          {func(s *Stack, w *StackService) { w.Image = "" }, "image: it is missing"},
		"bad image":         {func(s *Stack, w *StackService) { w.Image = "A B" }, "image:"},
		"pull":              {func(s *Stack, w *StackService) { w.Pull = "daily" }, "pull:"},
		"env":               {func(s *Stack, w *StackService) { w.Env = []string{"x"} }, "NAME=value"},
		"NUL":               {func(s *Stack, w *StackService) { w.Command = []string{"a\x00"} }, "NUL"},
		"entrypoint":        {func(s *Stack, w *StackService) { w.Entrypoint = make([]string, 2000) }, "args: 2000"},
		"workdir":           {func(s *Stack, w *StackService) { w.WorkDir = "x" }, "not absolute"},
		"user":              {func(s *Stack, w *StackService) { w.User = "a\n" }, "control"},
		"group":             {func(s *Stack, w *StackService) { w.GroupAdd = []string{""} }, "group_add"},
		"hostname":          {func(s *Stack, w *StackService) { w.Hostname = "a b" }, "hostname"},
		"domain":            {func(s *Stack, w *StackService) { w.DomainName = "a\x1b" }, "domain_name"},
		"restart":           {func(s *Stack, w *StackService) { w.Restart = "often" }, "restart:"},
		"needs nobody":      {func(s *Stack, w *StackService) { w.DependsOn = needs("nosuch") }, `no service "nosuch"`},
		"needs itself":      {func(s *Stack, w *StackService) { w.DependsOn = needs("web") }, "cycle: web → web"},
		"cycle":             {func(s *Stack, w *StackService) { w.DependsOn, s.Services[1].DependsOn = needs("db"), needs("web") }, "cycle: web → db → web"},
		"cycle by network":  {func(s *Stack, w *StackService) { w.NetworkMode, s.Services[1].DependsOn = "service:db", needs("web") }, "cycle"},
		"needs twice":       {func(s *Stack, w *StackService) { w.DependsOn = append(needs("db"), needs("db")...) }, "named twice"},
		"condition":         {func(s *Stack, w *StackService) { w.DependsOn = []Dependency{{Service: "db", Condition: "ready"}} }, "condition"},
		"health test":       {func(s *Stack, w *StackService) { w.Health = &HealthCheck{Test: []string{"curl"}} }, "health: test"},
		"health words":      {func(s *Stack, w *StackService) { w.Health = &HealthCheck{Test: make([]string, 65)} }, "health: test"},
		"health interval":   {func(s *Stack, w *StackService) { w.Health = &HealthCheck{Interval: -1} }, "health: interval"},
		"endless health":    {func(s *Stack, w *StackService) { w.Health = &HealthCheck{Timeout: math.MaxInt64} }, "health: timeout"},
		"health retries":    {func(s *Stack, w *StackService) { w.Health = &HealthCheck{Retries: 1001} }, "health: retries"},
		"signal":            {func(s *Stack, w *StackService) { w.StopSignal = "SIGSTOPIT" }, "signal"},
		"grace":             {func(s *Stack, w *StackService) { w.StopGrace = -1 }, "stop_grace"},
		"network mode":      {func(s *Stack, w *StackService) { w.NetworkMode = "bridge" }, "network_mode"},
		"network of nobody": {func(s *Stack, w *StackService) { w.NetworkMode = "service:nosuch" }, "network_mode"},
		"own network":       {func(s *Stack, w *StackService) { w.NetworkMode = "service:web" }, "its own network"},
		"host and networks": {func(s *Stack, w *StackService) { w.NetworkMode, w.Networks = "host", attach("front") }, "there are none with"},
		"ports of none": {func(s *Stack, w *StackService) {
			w.NetworkMode, w.Ports = "none", []StackPort{{Published: 1, Target: 1}}
		}, "none can be published"},
		"unknown network":    {func(s *Stack, w *StackService) { w.Networks = attach("back") }, `no network "back"`},
		"network twice":      {func(s *Stack, w *StackService) { w.Networks = append(attach("front"), attach("front")...) }, "named twice"},
		"address":            {func(s *Stack, w *StackService) { w.Networks = []NetworkAttachment{{Network: "front", Address: "here"}} }, "address"},
		"port 0":             {func(s *Stack, w *StackService) { w.Ports = []StackPort{{Target: 80}} }, "out of range"},
		"host ip":            {func(s *Stack, w *StackService) { w.Ports = []StackPort{{HostIP: "nas", Published: 1, Target: 1}} }, "no address"},
		"port twice":         {func(s *Stack, w *StackService) { w.Ports = publish(80); s.Services[1].Ports = publish(80) }, "published by web already"},
		"many ports":         {func(s *Stack, w *StackService) { w.Ports = make([]StackPort, 513) }, "ports: 513"},
		"expose":             {func(s *Stack, w *StackService) { w.Expose = []uint16{0} }, "expose"},
		"extra host":         {func(s *Stack, w *StackService) { w.ExtraHosts = []string{"nas"} }, "NAME:ADDRESS"},
		"extra address":      {func(s *Stack, w *StackService) { w.ExtraHosts = []string{"nas:there"} }, "no address"},
		"dns":                {func(s *Stack, w *StackService) { w.DNS = []string{"router"} }, "dns"},
		"dns search":         {func(s *Stack, w *StackService) { w.DNSSearch = []string{""} }, "dns_search"},
		"unknown volume":     {mount(StackMount{Kind: MountVolume, Source: "nosuch", Target: "/x"}), `no volume "nosuch"`},
		"unknown file":       {mount(StackMount{Kind: MountFile, Source: "nosuch", Target: "/x"}), `no file "nosuch"`},
		"relative bind":      {mount(StackMount{Kind: MountBind, Source: "./x", Target: "/x"}), "not an absolute path"},
		"bind upwards":       {mount(StackMount{Kind: MountBind, Source: "/a/../etc", Target: "/x"}), "not an absolute path"},
		"tmpfs of something": {mount(StackMount{Kind: MountTmpfs, Source: "/x", Target: "/x"}), "has no source"},
		"mount kind":         {mount(StackMount{Kind: "nfs", Target: "/x"}), "none of volume"},
		"over the root":      {mount(StackMount{Kind: MountTmpfs, Target: "/"}), "over /"},
		"subpath":            {mount(StackMount{Kind: MountVolume, Source: "data", Subpath: "../x", Target: "/x"}), "no folder within"},
		"propagation":        {mount(StackMount{Kind: MountBind, Source: "/x", Target: "/x", Propagation: "sideways"}), "propagation"},
		"mount mode":         {mount(StackMount{Kind: MountTmpfs, Target: "/x", Mode: 1 << 20}), "mode"},
		"mount size":         {mount(StackMount{Kind: MountTmpfs, Target: "/x", Size: 1 << 62}), "more than any device"},
		"mount twice": {func(s *Stack, w *StackService) {
			w.Mounts = []StackMount{{Kind: MountTmpfs, Target: "/x"}, {Kind: MountTmpfs, Target: "/x"}}
		}, "mounted twice"},
		"shm":             {func(s *Stack, w *StackService) { w.ShmSize = 1 << 62 }, "shm_size"},
		"cpus":            {func(s *Stack, w *StackService) { w.CPUs = Cores(math.NaN()) }, "cpus"},
		"memory":          {func(s *Stack, w *StackService) { w.Memory = 1 << 62 }, "memory"},
		"reserved memory": {func(s *Stack, w *StackService) { w.ReservedMemory = 1 << 62 }, "reserved_memory"},
		"reserved cpus":   {func(s *Stack, w *StackService) { w.ReservedCPUs = -1 }, "reserved_cpus"},
		"shares":          {func(s *Stack, w *StackService) { w.CPUShares = 1 << 30 }, "cpu_shares"},
		"pids":            {func(s *Stack, w *StackService) { w.Pids = -2 }, "pids"},
		"oom":             {func(s *Stack, w *StackService) { w.OOMScore = -2000 }, "oom_score_adj"},
		"device":          {func(s *Stack, w *StackService) { w.Devices = []StackDevice{{Source: "ttyUSB0"}} }, "devices"},
		"device target":   {func(s *Stack, w *StackService) { w.Devices = []StackDevice{{Source: "/dev/a", Target: "b"}} }, "devices"},
		"device rights":   {func(s *Stack, w *StackService) { w.Devices = []StackDevice{{Source: "/dev/a", Permissions: "rx"}} }, "permissions"},
		"accelerator":     {func(s *Stack, w *StackService) { w.Accelerator = "tpu" }, "accelerator"},
		"capability":      {func(s *Stack, w *StackService) { w.CapAdd = []string{"net admin"} }, "capability"},
		"pid":             {func(s *Stack, w *StackService) { w.PIDMode = "container:x" }, "pid_mode"},
		"ipc":             {func(s *Stack, w *StackService) { w.IPCMode = "shareable" }, "ipc_mode"},
		"unconfined":      {func(s *Stack, w *StackService) { w.Unconfined = []string{"selinux"} }, "unconfined"},
		"sysctl":          {func(s *Stack, w *StackService) { w.Sysctls = map[string]string{"a b": "1"} }, "sysctls"},
		"ulimit":          {func(s *Stack, w *StackService) { w.Ulimits = []Ulimit{{Name: "nofile", Soft: 2, Hard: 1}} }, "ulimits"},
		"ulimit twice":    {func(s *Stack, w *StackService) { w.Ulimits = []Ulimit{{Name: "a"}, {Name: "a"}} }, "two of that name"},
		"label":           {func(s *Stack, w *StackService) { w.Labels = map[string]string{"": "x"} }, "labels"},
		"many labels":     {func(s *Stack, w *StackService) { w.Labels = manyLabels() }, "labels: 200"},
		"network name":    {func(s *Stack, _ *StackService) { s.Networks[0].Name = "a b" }, "network"},
		"networks twice":  {func(s *Stack, _ *StackService) { s.Networks = append(s.Networks, s.Networks[0]) }, "two of that name"},
		"many networks":   {func(s *Stack, _ *StackService) { s.Networks = make([]StackNetwork, 17) }, "networks: 17"},
		"subnet":          {func(s *Stack, _ *StackService) { s.Networks[0].Subnet = "home" }, "subnet"},
		"subnet bits":     {func(s *Stack, _ *StackService) { s.Networks[0].Subnet = "172.30.0.1/24" }, "write 172.30.0.0/24"},
		"public subnet":   {func(s *Stack, _ *StackService) { s.Networks[0].Subnet = "8.8.8.0/24" }, "not of private"},
		"tiny subnet":     {func(s *Stack, _ *StackService) { s.Networks[0].Subnet = "172.30.0.0/31" }, "no room"},
		"volume name":     {func(s *Stack, _ *StackService) { s.Volumes[0].Name = "../x" }, "volume"},
		"volumes twice":   {func(s *Stack, _ *StackService) { s.Volumes = append(s.Volumes, s.Volumes[0]) }, "two of that name"},
		"many volumes":    {func(s *Stack, _ *StackService) { s.Volumes = make([]StackVolume, 129) }, "volumes: 129"},
		"file name":       {func(s *Stack, _ *StackService) { s.Files[0].Name = "a\n" }, "control"},
		"nameless file":   {func(s *Stack, _ *StackService) { s.Files[0].Name = "" }, "no name"},
		"cut file":        {func(s *Stack, _ *StackService) { s.Files[0].Data, s.Files[0].Size = []byte("x"), 2 }, "1 bytes of 2"},
		"large files": {func(s *Stack, _ *StackService) {
			s.Files = []StackFile{{Name: "a", Size: MaxStackFiles}, {Name: "b", Size: 1}}
		}, "together"},
		"secret folder": {func(s *Stack, _ *StackService) { s.Files[0].Secret, s.Files[0].Folder = true, true }, "no folder"},
		"uses":          {func(s *Stack, _ *StackService) { s.Uses = []string{"db"} }, "STACK/SERVICE"},
		"uses what":     {func(s *Stack, _ *StackService) { s.Uses = []string{"Other/db"} }, "stack name"},
		"many uses":     {func(s *Stack, _ *StackService) { s.Uses = make([]string, 65) }, "uses: 65"},
		"label value":   {func(s *Stack, _ *StackService) { s.Constraints.Labels = map[string]string{"a": "\n"} }, "control"},
		"large": {func(s *Stack, w *StackService) {
			for range 9 {
				w.Env = append(w.Env, "A="+strings.Repeat("x", maxText-2))
			}
		}, "the most is 1048576"},
	}
	return rows
}

func services(n int) (all []StackService) {
	for i := range n {
		all = append(all, StackService{Name: fmt.Sprint("s", i), Image: "a", Restart: RestartNo})
	}
	return all
}

func needs(name string) []Dependency {
	return []Dependency{{Service: name, Condition: ConditionStarted}}
}

func attach(network string) []NetworkAttachment { return []NetworkAttachment{{Network: network}} }

func publish(port uint16) []StackPort { return []StackPort{{Published: port, Target: 80}} }

func mount(m StackMount) func(*Stack, *StackService) {
	return func(_ *Stack, web *StackService) { web.Mounts = []StackMount{m} }
}

func manyLabels() map[string]string {
	labels := make(map[string]string)
	for i := range 200 {
		labels[fmt.Sprint(i)] = ""
	}
	return labels
}

// Each bad input is refused with a text that names what is wrong, and where.
func TestBadStacks(t *testing.T) {
	for name, row := range badStacks() {
		s := validStack()
		row.spoil(&s, &s.Services[0])
		err := s.Validate()
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	s := validStack()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

// What is wrong stays wrong in whatever stack it is.
func TestBadPartsSpoilEveryStack(t *testing.T) {
	rows := badStacks()
	rapid.Check(t, func(t *rapid.T) {
		s := validStack()
		for _, svc := range drawStack(t).Services {
			svc.Name, svc.DependsOn, svc.Mounts, svc.Ports = "more-"+svc.Name, nil, nil, nil
			s.Services = append(s.Services, svc)
		}
		name := rapid.SampledFrom([]string{"cycle", "port twice", "unknown volume", "no image", "same name", "subnet", "health interval"}).Draw(t, "bad")
		rows[name].spoil(&s, &s.Services[0])
		if s.Validate() == nil {
			t.Fatalf("%s: %+v is valid", name, s)
		}
	})
}

// Any order of services has the same start order constraints: each comes after
// those that it needs.
func TestStartOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := services(rapid.IntRange(1, 12).Draw(t, "services"))
		for i := 1; i < len(all); i++ {
			for _, j := range rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 0, 3, func(j int) int { return j }).Draw(t, "needs") {
				all[i].DependsOn = append(all[i].DependsOn, needs(all[j].Name)...)
			}
		}
		s := Stack{Name: "s", Services: rapid.Permutation(all).Draw(t, "order")}
		order, err := s.StartOrder()
		if err != nil || len(order) != len(all) {
			t.Fatalf("%v, %v", order, err)
		}
		at := make(map[string]int)
		for i, n := range order {
			at[n] = i
		}
		for _, svc := range all {
			for _, d := range svc.DependsOn {
				if at[d.Service] > at[svc.Name] {
					t.Fatalf("%s comes before %s", svc.Name, d.Service)
				}
			}
		}
	})
}
