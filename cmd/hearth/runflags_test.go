package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// TestEveryFlagOfDockerIsAnswered: each flag of `docker run` is taken, with its
// short form, or says why not; none is "unknown".
func TestEveryFlagOfDockerIsAnswered(t *testing.T) {
	list, err := os.ReadFile("testdata/docker-run-flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(map[string]dockerFlag)
	for _, d := range dockerFlags() {
		refused[d.name] = d
	}
	// These write tags, which requests do not have yet.
	later := map[string]bool{"name": true, "label": true}
	run := (&cli{}).runCommand()
	known := make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		names := strings.Fields(line)
		if names[0] == "#" {
			continue
		}
		name := strings.TrimPrefix(names[len(names)-1], "--")
		known[name] = true
		f := run.Flags().Lookup(name)
		switch {
		case f == nil:
			if !later[name] {
				t.Errorf("--%s is unknown", name)
			}
			continue
		case len(names) == 2 && "-"+f.Shorthand != names[0]:
			t.Errorf("--%s is -%s, docker has %s", name, f.Shorthand, names[0])
		case len(names) == 1 && f.Shorthand != "":
			t.Errorf("--%s is -%s, docker has no short form", name, f.Shorthand)
		}
		if d, ok := refused[name]; ok {
			checkRefusal(t, d)
		}
	}
	for name := range refused {
		if !known[name] {
			t.Errorf("--%s is refused, and docker has no such flag", name)
		}
	}
}

// checkRefusal: a flag that is refused says why, and what to do, in a sentence
// that does not speak of a flag's syntax.
func checkRefusal(t *testing.T, d dockerFlag) {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	addDockerFlags(flags)
	value := "=something"
	if d.toggle {
		value = ""
		for _, same := range d.same {
			if same == "true" {
				value = "=false"
			}
		}
	}
	err := flags.Parse([]string{"--" + d.name + value})
	f, ok := errors.AsType[*failure](err)
	if !ok || f.hint == "" || !strings.HasPrefix(f.Error(), "--"+d.name+": ") || strings.ContainsAny(f.Error()[len(d.name)+4:], "\n") {
		t.Errorf("--%s: %v", d.name, err)
	}
	for _, same := range d.same {
		if err := flags.Parse([]string{"--" + d.name + "=" + same}); err != nil {
			t.Errorf("--%s=%s changes nothing, and is refused: %v", d.name, same, err)
		}
	}
}

// parseRun returns the service that a command line asks for.
func parseRun(t *testing.T, args ...string) (s protocol.Service, err error) {
	t.Helper()
	c := &cli{}
	root := c.root()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "run" {
			root.RemoveCommand(cmd)
		}
	}
	root.AddCommand(c.runCommandThat(func(_ context.Context, f runFlags, args []string) (err error) {
		s, err = f.service(args, nil)
		return err
	}))
	root.SetArgs(append([]string{"run"}, args...))
	err = root.Execute()
	return s, err
}

// TestDockersSpellings: what docker's command line asks for, hearth's does too.
func TestDockersSpellings(t *testing.T) {
	t.Setenv("PASSED_ON", "from here")
	base := protocol.Service{Image: "app"}
	with := func(change func(*protocol.Service)) protocol.Service {
		s := base
		change(&s)
		return s
	}
	for line, want := range map[string]protocol.Service{
		"app":      base,
		"--rm app": with(func(s *protocol.Service) { s.AutoRemove = true }),
		"--rm=false --init --sig-proxy --no-healthcheck --restart=no --ipc private --security-opt no-new-privileges --net default app": base,
		"--privileged=false -P=false --pull missing app": base,
		"-m 512m -w /data -u 1000:1000 app":              with(func(s *protocol.Service) { s.Memory, s.WorkDir, s.User = 512<<20, "/data", "1000:1000" }),
		"-h web --shm-size 128m --read-only app":         with(func(s *protocol.Service) { s.Hostname, s.ShmSize, s.ReadOnlyRoot = "web", 128<<20, true }),
		"--pull always app":                              with(func(s *protocol.Service) { s.Pull = protocol.PullAlways }),
		"--pull=never app":                               with(func(s *protocol.Service) { s.Pull = protocol.PullNever }),
		"--gpus all app":                                 with(func(s *protocol.Service) { s.Accelerator = "gpu" }),
		"--net host --cap-add cap_net_admin app":         with(func(s *protocol.Service) { s.Network, s.Capabilities = "host", []string{"NET_ADMIN"} }),
		"--platform linux/aarch64 app":                   with(func(s *protocol.Service) { s.Constraints.Labels = map[string]string{"os": "linux", "arch": "arm64"} }),
		"--platform linux/arm/v7 --constraint os=linux --constraint room=attic app": with(func(s *protocol.Service) {
			s.Constraints.Labels = map[string]string{"os": "linux", "arch": "arm", "room": "attic"}
		}),
		"-v /srv/in:/in:ro -v /srv/out:/out -v /a/../b:/b:rw,cached app": with(func(s *protocol.Service) {
			s.Mounts = []protocol.Mount{{Source: "/srv/in", Target: "/in"}, {Source: "/srv/out", Target: "/out", Writable: true}, {Source: "/b", Target: "/b", Writable: true}}
		}),
		"--mount /srv/in --mount type=bind,src=/a,dst=/b,ro --mount type=bind,source=/c,target=/d app": with(func(s *protocol.Service) {
			s.Mounts = []protocol.Mount{{Source: "/srv/in", Target: "/srv/in"}, {Source: "/a", Target: "/b"}, {Source: "/c", Target: "/d", Writable: true}}
		}),
		"--tmpfs /run --tmpfs /tmp:rw,size=64m,mode=1777,exec --mount type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=700 app": with(func(s *protocol.Service) {
			s.Tmpfs = []protocol.Tmpfs{{Target: "/run"}, {Target: "/tmp", Size: 64 << 20, Mode: 0o1777, Exec: true}, {Target: "/x", Size: 1 << 20, Mode: 0o700}}
		}),
		"--device /dev/ttyUSB0 --device /dev/ttyUSB1:/dev/ttyUSB1:rwm app": with(func(s *protocol.Service) { s.Devices = []string{"/dev/ttyUSB0", "/dev/ttyUSB1"} }),
		"-e A=1 -e PASSED_ON -e NOT_SET app":                               with(func(s *protocol.Service) { s.Env = []string{"A=1", "PASSED_ON=from here"} }),
		"--entrypoint sh app -c x":                                         with(func(s *protocol.Service) { s.Entrypoint, s.Args = "sh", []string{"-c", "x"} }),
		"--entrypoint= app -h --name x":                                    with(func(s *protocol.Service) { s.NoEntrypoint, s.Args = true, []string{"-h", "--name", "x"} }),
	} {
		got, err := parseRun(t, strings.Fields(line)...)
		if err != nil || !reflect.DeepEqual(trim(got), trim(want)) {
			t.Errorf("%s:\n%+v, %v\nwant\n%+v", line, got, err, want)
		}
	}
}

// trim makes empty lists none, so that services can be compared.
func trim(s protocol.Service) protocol.Service {
	if len(s.Args) == 0 {
		s.Args = nil
	}
	return s
}

// TestWhatHearthRefusesHasAReason: the cause first, then what to do.
func TestWhatHearthRefusesHasAReason(t *testing.T) {
	for line, want := range map[string]string{
		"--privileged app":                                   "--privileged: hearth never gives a container all of a node",
		"-p 80:80 app":                                       "--publish: no port of a node is opened for a container",
		"-itP app":                                           "--publish-all: no port",
		"--restart unless-stopped app":                       "--restart: a request ends when its container does",
		"--cap-drop ALL app":                                 "--cap-drop: what containers have is said by the node's owner",
		"--pid host app":                                     "--pid: a container has namespaces of its own",
		"--memory-swap -1 app":                               "--memory-swap: memory is one hard limit, without swap",
		"-v data:/data app":                                  `--volume "data:/data": hearth keeps no volumes, and data is no absolute path`,
		"-v ./data:/data app":                                `--volume "./data:/data": a relative path is one of this device`,
		"-v /data app":                                       `--volume "/data": hearth keeps no volumes`,
		"-v /a:/b:z app":                                     "hearth does not change the labels of a node's files",
		"--mount type=volume,src=data,dst=/d app":            "hearth keeps no volumes: type=volume is not to be had",
		"--mount src=/a,dst=/b app":                          "hearth keeps no volumes",
		"--mount type=bind,src=a,dst=/b app":                 "a path is missing, or is not absolute",
		"--mount type=bind,src=/a,dst=/b,x=1 app":            "x: hearth has nothing like it",
		"--tmpfs tmp app":                                    `"tmp" is no absolute path in the container`,
		"--tmpfs /tmp:uid=1 app":                             `the option "uid=1" is none that hearth knows`,
		"--tmpfs /tmp:size=50% app":                          `"50%" is not a size`,
		"--tmpfs /dev/shm app":                               "every container has this one",
		"--gpus 2 app":                                       "a container gets all of them or none",
		"--gpus all --accelerator npu app":                   "--gpus and --accelerator npu exclude each other",
		"--platform arm64 app":                               "not of the form OS/ARCH",
		"--platform linux/arm64 --constraint arch=amd64 app": "--platform linux/arm64 and --constraint arch=amd64 exclude each other",
		"--pull sometimes app":                               `--pull "sometimes" is none of missing, always and never`,
		"--network container:db app":                         "the other one may be on another node",
		"--network name=x,alias=y app":                       "a network is asked for by its name alone",
		"--device /dev/a:/dev/b app":                         "a device has the same path in the container as on the node",
		"--device /dev/a:/dev/a:r app":                       "a device that is lent can be read and written",
		"--entrypoint= app":                                  "it is emptied, and args name no command",
		"--shm-size 0 app":                                   "--shm-size",
		"-h a_b! app":                                        "hostname:",
		"--json -t app":                                      "--json and --tty exclude each other",
		"--privliged app":                                    "unknown flag: --privliged",
	} {
		s, err := parseRun(t, strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %+v, want %q", line, err, s, want)
		}
	}
}

// TestEnvFile: it is read as docker reads it.
func TestEnvFile(t *testing.T) {
	t.Setenv("SET_HERE", "from here")
	t.Setenv("EMPTY_HERE", "")
	for name, c := range map[string]struct {
		text string
		want []string
		err  string
	}{
		"empty":               {},
		"pairs":               {text: "A=1\nB=two words\nC=\nD=a=b", want: []string{"A=1", "B=two words", "C=", "D=a=b"}},
		"blanks in a value":   {text: "A= 1 \nB=\t2\t\n", want: []string{"A= 1 ", "B=\t2\t"}},
		"blanks before":       {text: "  A=1\n\tB=2\n", want: []string{"A=1", "B=2"}},
		"quotes are kept":     {text: "A=\"x y\"\nB='$A'\n", want: []string{`A="x y"`, "B='$A'"}},
		"comments and blanks": {text: "# no\n\n   \n  # no\nA=1 # part of it\n#B=2\n", want: []string{"A=1 # part of it"}},
		"Windows":             {text: "\ufeffA=1\r\nB=2\r\n", want: []string{"A=1", "B=2"}},
		"a BOM further on":    {text: "A=1\n\ufeffB=2\n", want: []string{"A=1", "\ufeffB=2"}},
		"bare names":          {text: "SET_HERE\nNOT_SET_ANYWHERE\nEMPTY_HERE", want: []string{"SET_HERE=from here", "EMPTY_HERE="}},
		"the last wins later": {text: "A=1\nA=2\n", want: []string{"A=1", "A=2"}},
		"odd names":           {text: "a.b-c=1\n1=2\nÄ=3\n", want: []string{"a.b-c=1", "1=2", "Ä=3"}},
		"no name":             {text: "A=1\n=2\n", err: "no variable name on line '=2'"},
		"a blank in a name":   {text: "A B=1\n", err: "variable 'A B' contains whitespaces"},
		"a blank after it":    {text: "A =1\n", err: "variable 'A ' contains whitespaces"},
		"no UTF-8":            {text: "A=1\nB=\xff\n", err: ":2: not valid UTF-8"},
		"a long line":         {text: "A=" + strings.Repeat("x", 64<<10), err: "a line is longer than 65536 bytes"},
		"a long file":         {text: strings.Repeat("A=1\n", 1<<18) + "LAST=1\n", err: "longer than 1048576 bytes"},
		"a long bad name":     {text: strings.Repeat("x", 1000) + " =1\n", err: "…"},
	} {
		file := filepath.Join(t.TempDir(), "env")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := runFlags{envFiles: []string{file}}
		got, err := f.environment()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "--env-file: "+file) || len(err.Error()) > 500 {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}

// TestEnvFilesInOrder: files come in their order, and -e after them.
func TestEnvFilesInOrder(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{"1": "A=1\nB=1\n", "2": "A=2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files = append(files, filepath.Join(dir, "2"), filepath.Join(dir, "1"))
	f := runFlags{envFiles: files, env: []string{"B=e"}}
	got, err := f.environment()
	if want := []string{"A=2", "A=1", "B=1", "B=e"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
