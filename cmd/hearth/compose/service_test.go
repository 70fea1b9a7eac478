package compose

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestKeyForms gives each key in each of its forms, and the part of the service
// that comes of it. Each pair is one that Docker Compose would run alike.
func TestKeyForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, keys, more, want string }{
		{"nothing", "", "", `{"restart":"on-failure"}`},
		{"command text", "command: redis-server --save '' \"a b\"", "", `{"command":["redis-server","--save","","a b"]}`},
		{"command list", "command: [a, 'b c']", "", `{"command":["a","b c"]}`},
		{"command empty", "command: []", "", `{"command":[]}`},
		{"entrypoint text", "entrypoint: /run.sh -x", "", `{"entrypoint":["/run.sh","-x"]}`},
		{"entrypoint empty", "entrypoint: ''", "", `{"entrypoint":[]}`},
		{"environment list", "environment: [B=2, A=1, EMPTY=]", "", `{"env":["A=1","B=2","EMPTY="]}`},
		{"environment map", "environment: {PORT: 80, ON: true, TEXT: 'a=b'}", "", `{"env":["ON=true","PORT=80","TEXT=a=b"]}`},
		{"dollars are escaped", "environment: [A=$$HOME]", "", `{"env":["A=$HOME"]}`},
		{"restart always", "restart: always", "", `{"restart":"always"}`},
		{"restart unless-stopped", "restart: unless-stopped", "", `{"restart":"always"}`},
		{"restart no", "restart: 'no'", "", `{"restart":"no"}`},
		{"restart counted", "restart: on-failure:5", "", `{"restart":"on-failure"}`},
		{"restart under deploy", "deploy: {restart_policy: {condition: any}}", "", `{"restart":"always"}`},
		{"ports short", "ports: ['8080:80']", "", `{"ports":[{"published":8080,"target":80}]}`},
		{"ports udp and address", "ports: ['127.0.0.1:53:5353/udp']", "", `{"ports":[{"host_ip":"127.0.0.1","published":53,"target":5353,"udp":true}]}`},
		{"ports range", "ports: ['9000-9002:80-82']", "", `{"ports":[{"published":9000,"target":80},{"published":9001,"target":81},{"published":9002,"target":82}]}`},
		{"ports long", "ports: [{target: 80, published: '8080', protocol: tcp, mode: host, name: web, app_protocol: http}]", "", `{"ports":[{"published":8080,"target":80}]}`},
		{"ports v6", "ports: ['[::1]:8080:80']", "", `{"ports":[{"host_ip":"::1","published":8080,"target":80}]}`},
		{"a port alone is not published", "ports: ['80']", "", `{"expose":[80]}`},
		{"expose", "expose: ['3000', 3001/udp, '4000-4002']", "", `{"expose":[3000,3001,4000,4001,4002]}`},
		{"depends_on list", "depends_on: [db]", "  db: {image: redis}\n", `{"depends_on":[{"service":"db","condition":"started"}]}`},
		{"depends_on conditions", "depends_on:\n  db: {condition: service_healthy, restart: true}\n  init: {condition: service_completed_successfully, required: false}", "  db: {image: redis}\n  init: {image: busybox}\n",
			`{"depends_on":[{"service":"db","condition":"healthy","restart":true},{"service":"init","condition":"completed","optional":true}]}`},
		{"healthcheck text", "healthcheck: {test: curl -f http://localhost, interval: 1m30s, timeout: 10s, retries: 3, start_period: 40s, start_interval: 5s}", "",
			`{"health":{"test":["CMD-SHELL","curl -f http://localhost"],"interval_ms":90000,"timeout_ms":10000,"start_period_ms":40000,"start_interval_ms":5000,"retries":3}}`},
		{"healthcheck list", "healthcheck: {test: [CMD, 'true'], interval: 500us}", "", `{"health":{"test":["CMD","true"],"interval_ms":1}}`},
		{"healthcheck off", "healthcheck: {disable: true}", "", `{"health":{"test":["NONE"]}}`},
		{"healthcheck none", "healthcheck: {test: [NONE]}", "", `{"health":{"test":["NONE"]}}`},
		{"stop", "stop_signal: SIGINT\nstop_grace_period: 1m", "", `{"stop_signal":"INT","stop_grace_ms":60000}`},
		{"network host", "network_mode: host", "", `{"network_mode":"host"}`},
		{"network bridge", "network_mode: bridge", "", `{}`},
		{"network of a service", "network_mode: service:vpn", "  vpn: {image: gluetun}\n", `{"network_mode":"service:vpn","depends_on":[{"service":"vpn","condition":"started","restart":true}]}`},
		{"network of a container of the stack", "network_mode: container:tunnel", "  vpn: {image: gluetun, container_name: tunnel}\n", `{"network_mode":"service:vpn"}`},
		{"networks list", "networks: [front, back]", "networks: {front: , back: {internal: true}}\n", `{"networks":[{"network":"back"},{"network":"front"}]}`},
		{"networks with aliases", "networks: {default: {aliases: [www, web]}}", "", `{"networks":[{"network":"default","aliases":["www"]}]}`},
		{"networks with an address", "networks: {lan: {ipv4_address: 172.30.0.9}}", "networks: {lan: {ipam: {config: [{subnet: 172.30.0.0/24, gateway: 172.30.0.1}]}}}\n", `{"networks":[{"network":"lan","address":"172.30.0.9"}]}`},
		{"names", "container_name: My_Web.1\nhostname: www\ndomainname: example.org", "", `{"aliases":["My_Web.1"],"hostname":"www","domain_name":"example.org"}`},
		{"extra_hosts list", "extra_hosts: ['db:10.0.0.1', 'host.docker.internal:host-gateway', 'six=[::1]']", "", `{"extra_hosts":["db:10.0.0.1","host.docker.internal:host-gateway","six:::1"]}`},
		{"extra_hosts map", "extra_hosts: {db: 10.0.0.1}", "", `{"extra_hosts":["db:10.0.0.1"]}`},
		{"dns", "dns: 1.1.1.1\ndns_search: [lan]\ndns_opt: [use-vc]", "", `{"dns":["1.1.1.1"],"dns_search":["lan"],"dns_options":["use-vc"]}`},
		{"user", "user: '1000:1000'\ngroup_add: ['44', render]\nworking_dir: /app\ntty: true\nstdin_open: true\ninit: true\nread_only: true", "",
			`{"user":"1000:1000","group_add":["44","render"],"workdir":"/app","tty":true,"stdin_open":true,"init":true,"read_only_root":true}`},
		{"limits short", "cpus: 0.1\nmem_limit: 512m\nmem_reservation: 64m\npids_limit: 100\ncpu_shares: 512\nshm_size: 1gb\noom_score_adj: -500", "",
			`{"cpus":0.1,"memory":536870912,"reserved_memory":67108864,"pids":100,"cpu_shares":512,"shm_size":1073741824,"oom_score_adj":-500}`},
		{"limits under deploy", "deploy: {replicas: 1, mode: replicated, resources: {limits: {cpus: '1.5', memory: 1G, pids: 5}, reservations: {cpus: '0.25', memory: 256M}}}", "",
			`{"cpus":1.5,"memory":1073741824,"pids":5,"reserved_cpus":0.25,"reserved_memory":268435456}`},
		{"cpu_quota", "cpu_quota: 50000", "", `{"cpus":0.5}`},
		{"gpu under deploy", "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}", "", `{"accelerator":"gpu"}`},
		{"gpus", "gpus: all", "", `{"accelerator":"gpu"}`},
		{"runtime nvidia", "runtime: nvidia", "", `{"accelerator":"gpu"}`},
		{"devices", "devices: ['/dev/dri', '/dev/ttyUSB0:/dev/ttyACM0', '/dev/sda:/dev/xvda:r', {source: /dev/kvm, target: /dev/kvm}]", "",
			`{"devices":[{"source":"/dev/dri"},{"source":"/dev/ttyUSB0","target":"/dev/ttyACM0"},{"source":"/dev/sda","target":"/dev/xvda","permissions":"r"},{"source":"/dev/kvm"}]}`},
		{"capabilities", "cap_add: [net_admin, CAP_SYS_MODULE, NET_ADMIN]\ncap_drop: [ALL]\nprivileged: true", "", `{"cap_add":["NET_ADMIN","SYS_MODULE"],"cap_drop":["ALL"],"privileged":true}`},
		{"namespaces", "pid: host\nipc: host", "", `{"pid_mode":"host","ipc_mode":"host"}`},
		{"security", "security_opt: ['no-new-privileges:true', seccomp=unconfined, 'apparmor:unconfined']", "", `{"unconfined":["seccomp","apparmor"]}`},
		{"sysctls list", "sysctls: [net.ipv4.ip_forward=1]", "", `{"sysctls":{"net.ipv4.ip_forward":"1"}}`},
		{"sysctls map", "sysctls: {net.ipv4.ip_forward: 1}", "", `{"sysctls":{"net.ipv4.ip_forward":"1"}}`},
		{"ulimits", "ulimits: {nproc: 65535, nofile: {soft: 1024, hard: 4096}, core: 0, memlock: -1}", "",
			`{"ulimits":[{"name":"core","soft":0,"hard":0},{"name":"memlock","soft":-1,"hard":-1},{"name":"nofile","soft":1024,"hard":4096},{"name":"nproc","soft":65535,"hard":65535}]}`},
		{"labels list", "labels: [a=b, c]", "", `{"labels":{"a":"b","c":""}}`},
		{"labels map", "labels: {a: b, n: 1}", "", `{"labels":{"a":"b","n":"1"}}`},
		{"pull always", "pull_policy: always", "", `{"pull":"always"}`},
		{"pull if_not_present", "pull_policy: if_not_present", "", `{"pull":""}`},
		{"volume", "volumes: ['data:/data:ro']", "volumes: {data: }\n", `{"mounts":[{"kind":"volume","source":"data","target":"/data","read_only":true}]}`},
		{"volume long", "volumes: [{type: volume, source: data, target: /data/, volume: {nocopy: true, subpath: a/b}}]", "volumes: {data: {driver: local, name: other}}\n",
			`{"mounts":[{"kind":"volume","source":"data","subpath":"a/b","target":"/data","no_copy":true}]}`},
		{"volume that binds", "volumes: ['data:/data']", "volumes: {data: {driver: local, driver_opts: {type: none, o: bind, device: /srv/data}}}\n", `{"mounts":[{"kind":"bind","source":"/srv/data","target":"/data"}]}`},
		{"volume without a name", "volumes: [/code/node_modules]", "", `{"mounts":[{"kind":"volume","source":"web-code-node_modules","target":"/code/node_modules"}]}`},
		{"bind absolute", "volumes: ['/srv/photos:/photos:ro,rslave', '/var/run/docker.sock:/var/run/docker.sock']", "",
			`{"mounts":[{"kind":"bind","source":"/srv/photos","target":"/photos","read_only":true,"propagation":"rslave"},{"kind":"bind","source":"/var/run/docker.sock","target":"/var/run/docker.sock"}]}`},
		{"bind relative", "volumes: ['./data:/data', {type: bind, source: ./data/sub, target: /sub}, './.hidden dir:/h']", "",
			`{"mounts":[{"kind":"volume","source":"data","target":"/data","no_copy":true},{"kind":"volume","source":"data","subpath":"sub","target":"/sub","no_copy":true},{"kind":"volume","source":"dot.hidden-dir","target":"/h","no_copy":true}]}`},
		{"bind of the project", "volumes: ['.:/code']", "", `{"mounts":[{"kind":"volume","source":"project","target":"/code","no_copy":true}]}`},
		{"tmpfs", "tmpfs: ['/run', '/tmp:size=64m,mode=1770,noexec,uid=1000']", "", `{"mounts":[{"kind":"tmpfs","target":"/run"},{"kind":"tmpfs","target":"/tmp","size":67108864,"mode":1016,"uid":"1000"}]}`},
		{"tmpfs text", "tmpfs: /run", "", `{"mounts":[{"kind":"tmpfs","target":"/run"}]}`},
		{"tmpfs long", "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o755}}]", "", `{"mounts":[{"kind":"tmpfs","target":"/t","size":1048576,"mode":493}]}`},
		{"config short", "configs: [c]", "configs: {c: {content: hello}}\n", `{"mounts":[{"kind":"file","source":"configs/c","target":"/c","read_only":true}]}`},
		{"config long", "configs: [{source: c, target: /etc/c, uid: '1', gid: '2', mode: 0440}]", "configs: {c: {content: hello}}\n", `{"mounts":[{"kind":"file","source":"configs/c","target":"/etc/c","read_only":true,"mode":288,"uid":"1","gid":"2"}]}`},
		{"shared", "x-hearth-shared: true\nx-anything: {a: b}", "", `{"shared":true}`},
		{"harmless", "logging: {driver: json-file}\nattach: false\nannotations: {a: b}\ndevelop: {watch: []}", "", `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			st, _, err := loadService(t, c.keys, c.more)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			for _, s := range st.Services {
				if s.Name == "web" {
					_ = json.Unmarshal([]byte(toJSON(t, s)), &got)
				}
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if v != "" && toJSON(t, got[k]) != toJSON(t, v) {
					t.Errorf("%s is %s, want %s", k, toJSON(t, got[k]), toJSON(t, v))
				}
			}
			for k, v := range got {
				if _, ok := want[k]; !ok && k != "name" && k != "image" && k != "restart" && k != "depends_on" {
					t.Errorf("%s is %s, want nothing of it", k, toJSON(t, v))
				}
			}
		})
	}
}

// TestRefusals: each refused part names its line, key, reason and what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ keys, more, want string }{
		{"imag: x", "", "compose.yaml:4: services.web.imag: unknown key: did you mean image?"},
		{"healthcheck: {tests: x}", "", "compose.yaml:4: services.web.healthcheck.tests: unknown key: did you mean test?"},
		{"x-hearth-noed: a", "", "compose.yaml:4: services.web.x-hearth-noed: unknown key: did you mean x-hearth-node?"},
		{"deploy: {replicas: 3}", "", "compose.yaml:4: services.web.deploy.replicas: a service has one instance: write 1; bring up"},
		{"scale: 2", "", "compose.yaml:4: services.web.scale: a service has one instance"},
		{"deploy: {mode: global}", "", "services.web.deploy.mode: global: a service has one instance"},
		{"volumes: ['.:/code', './src:/src']", "", "compose.yaml:4: services.web.volumes: . and src are both mounted"},
		{"volumes: ['~/x:/x']", "", "compose.yaml:4: services.web.volumes: ~ is another folder on each node: write the path in full"},
		{"volumes:\n- /a:/a\n- ../x:/x", "", "compose.yaml:6: services.web.volumes: ../x is outside the project's folder: move it"},
		{"volumes: ['./a:/a:rw,nope']", "", `unknown mount option "nope"`},
		{"volumes: ['C:\\x:/x']", "", "is a path of Windows"},
		{"volumes: ['./none:/x:ro']", "", "there is no none beside the file: put it there"},
		{"volumes: [data:/data]", "", `compose.yaml:4: services.web.volumes: service "web" refers to undefined volume data: define it`},
		{"devices: [{source: /dev/kvm}]", "", "compose.yaml:4: services.web.devices: "},
		{"volumes: ['/a:/x', '/b:/y', {type: image, source: x, target: /i}]", "", "image is not mounted"},
		{"volumes: [data:/x, './data:/y']", "volumes: {data: }\n", "its volume would be called data as another one"},
		{"volumes: [data:/data]", "volumes:\n  data:\n    external: true\n", "compose.yaml:7: volumes.data.external: a stack's volumes are its own"},
		{"volumes: [data:/data]", "volumes: {data: {driver: nfs}}\n", "volumes.data.driver: there is no volume driver nfs"},
		{"volumes: [data:/data]", "volumes: {data: {driver_opts: {type: nfs, o: addr=1.2.3.4, device: ':/x'}}}\n", "volumes.data.driver_opts: a volume is a folder of its node"},
		{"networks: [proxy]", "networks:\n  proxy:\n    external: true\n", "compose.yaml:7: networks.proxy.external: a stack's networks are its own: leave the network out"},
		{"networks: [n]", "networks: {n: {driver: macvlan}}\n", "networks.n.driver: a stack's networks are bridges, not macvlan"},
		{"networks: {default: {ipv4_address: 10.0.0.1}}", "", "the network has no subnet"},
		{"networks: {n: {mac_address: '02:42:ac:11:65:43'}}", "networks: {n: }\n", "services.web.networks.n.mac_address: the engine chooses it"},
		{"network_mode: 5", "", `compose.yaml:4: services.web.network_mode: "5" is no text: put quotes around it`},
		{"network_mode:", "", `compose.yaml:4: services.web.network_mode: "" is no text`},
		{"network_mode: container:x", "", "the container x is not of this stack"},
		{"network_mode: macvlan0", "", `there is no mode "macvlan0"`},
		{"ports: ['8000-8010:80']", "", "a port is published under one number"},
		{"ports: ['99999:80']", "", "compose.yaml:4: services.web.ports: invalid hostPort: 99999: write ports like 8080:80"},
		{"ports: ['80:80/sctp']", "", "sctp is not carried"},
		{"ports: ['x:80']", "", "compose.yaml:4: services.web.ports"},
		{"expose: ['70000']", "", `services.web.expose: "70000" is no port`},
		{"healthcheck: {interval: soon}", "", "compose.yaml:4: services.web.healthcheck.interval"},
		{"healthcheck: {test: [CMD]}", "", "the test has no command"},
		{"stop_grace_period: -1s", "", "stop_grace_period"},
		{"mem_limit: lots", "", "services.web.mem_limit"},
		{"restart: sometimes", "", `services.web.restart: "sometimes" is no policy`},
		{"depends_on: [ghost]", "", `compose.yaml:4: services.web.depends_on: service "web" depends on undefined service`},
		{"depends_on: [web]", "", "compose.yaml:4: services.web.depends_on"},
		{"runtime: kata", "", "services.web.runtime: nodes have no runtime kata"},
		{"platform: windows/amd64", "", "nodes run linux, not windows"},
		{"security_opt: ['seccomp:./p.json']", "", `"seccomp:./p.json" is not given`},
		{"devices: [nvidia.com/gpu=all]", "", `"nvidia.com/gpu=all" is no device file: write it like /dev/ttyUSB0; for a GPU write gpus: all`},
		{"deploy: {placement: {constraints: ['node.role != manager']}}", "", "is no constraint of a stack"},
		{"pid: service:a", "  a: {image: b}\n", "services.web.pid: processes are not shared"},
		{"userns_mode: host", "", "services.web.userns_mode: the engine's users are the node's to choose: leave it out"},
		{"volumes_from: [a]", "  a: {image: b}\n", "services.web.volumes_from"},
		{"post_start: [{command: x}]", "", "services.web.post_start: there are no hooks"},
		{"pull_policy: build", "", "services.web.pull_policy: images are not built here"},
		{"secrets: [s]", "secrets: {s: {file: ./s}}\n", "secrets.s: "},
		{"secrets: [s]", "secrets: {s: {environment: NOT_SET}}\n", "the variable NOT_SET is not set"},
		{"secrets: [s]", "secrets: {s: {external: true}}\n", "secrets.s.external: files travel with the stack"},
		{"env_file: ./none.env", "", "compose.yaml:4: services.web.env_file"},
		{"environment: ['A=${X:?say it}']", "", "required variable X is missing a value: say it: set it in .env"},
		{"volumes: ['${X}/data:/data']", "", "compose.yaml:4: services.web.volumes: the variable X is not set, and a path with it would lead to another folder"},
		{"hostname: a_b c", "", "compose.yaml:4: services.web.hostname: "},
		{"stop_signal: NOPE", "", "compose.yaml:4: services.web.stop_signal: "},
		{"working_dir: app", "", "compose.yaml:4: services.web.working_dir: "},
		{"cap_add: ['a b']", "", "compose.yaml:4: services.web.cap_add: "},
		{"ports: ['80:80', '80:81']", "", "compose.yaml:4: services.web.ports: "},
		{"networks: [n]", "networks: {n: {ipam: {config: [{subnet: 8.8.8.0/24}]}}}\n", "compose.yaml:5: networks.n: "},
		{"network_mode: none\nports: ['80:80']", "", "compose.yaml:5: services.web.ports: the service is on no network"},
		{"network_mode: service:vpn\nports: ['80:80']", "  vpn: {image: x}\n", "compose.yaml:5: services.web.ports: the service is on the network of vpn, which alone can publish ports of it: move the port there"},
		{"tmpfs: ['/x:frob=1']", "", `the option "frob=1" is not given`},
		{"container_name: other", "  other: {image: b}\n", "its further name other is that of the service other"},
		{"x-hearth-node: [a]", "", "services.web.x-hearth-node: this is no node's name"},
		{"x-hearth-uses: [a]", "", "services.web.x-hearth-uses: this is no list of services: write [STACK/SERVICE]"},
		{"", "x-hearth-uses: [Bad.Name/a]\n", "compose.yaml:4: x-hearth-uses: "},
		{"x-hearth-node: a", "x-hearth-node: b\n", "a stack runs on one node"},
		{"", "  two: {build: .}\n", "compose.yaml:4: services.two.build: images are not built here: build the image"},
		{"", "  two: {image: 'A B'}\n", "compose.yaml:4: services.two.image: "},
		{"", "  two: {image: 'a:${X}'}\n", "services.two.image: \"a:\": invalid reference format: the variable X is not set: set it in .env"},
		{"", "  two: {command: x}\n", "compose.yaml:4: services.two: the service has no image: name one with image:"},
		{"", "models: {m: {model: x}}\n", "compose.yaml:4: models: models are not run"},
		{"", "  two: {extends: {service: ghost}, image: x}\n", `service "ghost" not found`},
		{"extends: {service: two}", "  two: {extends: {service: web}}\n", "Circular reference"},
		{"", "include: [./none.yaml]\n", "none.yaml"},
	} {
		t.Run(c.keys+c.more, func(t *testing.T) {
			t.Parallel()
			_, _, err := loadService(t, c.keys, c.more)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

// TestWarnings: what is changed or left out is told, and stops nothing.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ keys, more, want string }{
		{"build: .", "", "compose.yaml:4: nothing is built: the image nginx is used as it is"},
		{"environment: [A=$NOPE]", "", "compose.yaml:4: the variable NOPE is not set: it is left empty"},
		{"environment: [NOPE]", "", "NOPE has no value here"},
		{"restart: on-failure:3", "", "compose.yaml:4: the count in on-failure:3 is left out"},
		{"ports: ['80']", "", "compose.yaml:4: the port 80 is not published"},
		{"memswap_limit: 1g", "", "services.web.memswap_limit is left out"},
		{"networks: [n]", "networks: {n: {enable_ipv6: true}}\n", "networks.n.enable_ipv6 is left out"},
		{"network_mode: host\nports: ['8080:80']", "", "8080:80 is left out"},
		{"volumes: ['./a.json:/a.json']", "", "it is taken for a folder"},
		{"deploy: {restart_policy: {max_attempts: 3}}", "", "max_attempts is left out"},
	} {
		t.Run(c.keys, func(t *testing.T) {
			t.Parallel()
			_, warnings, err := loadService(t, c.keys, c.more)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, w := range warnings {
				lines = append(lines, w.String())
			}
			if text := strings.Join(lines, "\n"); !strings.Contains(text, c.want) {
				t.Errorf("the warnings are\n%s\nwant\n%s", text, c.want)
			}
		})
	}
}
