package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// What another program asks for is read as the command's own line is.
func TestRunLinesOfOthers(t *testing.T) {
	for line, want := range map[string]protocol.Run{
		"app":                         {Service: protocol.Service{Image: "app"}},
		"-it --rm -d app -i":          {Service: protocol.Service{Image: "app", Args: []string{"-i"}, TTY: true, AutoRemove: true}},
		"--id x -e A= --memory 64m a": {ID: "x", Service: protocol.Service{Image: "a", Env: []string{"A="}, Memory: 64 << 20}},
		"--entrypoint= a sh":          {Service: protocol.Service{Image: "a", Args: []string{"sh"}, NoEntrypoint: true}},
	} {
		got, err := parseRunLine(strings.Fields(line))
		got.Service = trim(got.Service)
		want.Service = trim(want.Service)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", line, got, err, want)
		}
	}
}

// It may run as another user than the one who asks: nothing of its files or variables
// comes into what is run, or into the error.
func TestRunLinesTakeNothingOfThisProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(file, []byte("KEY=hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PRIVATE", "hunter2")
	for line, want := range map[string]string{
		"--env-file " + file + " app":        "--env-file: files of this device are not read for others; write -e K=V",
		"--env-file /nosuch app":             "--env-file: files of this device",
		"--secret key=" + file + " app":      "--secret: files and variables of this device",
		"--secret PRIVATE app":               "--secret: files and variables of this device",
		"--secret id=x,src=" + file + " app": "--secret: files and variables of this device",
		"-e A=1 -e PRIVATE app":              "--env: variables of this device are not passed on",
		"--dry-run app":                      "unknown flag: --dry-run",
		"--help":                             "no image was named",
		"":                                   "no image was named",
		"--privileged app":                   "--privileged: hearth never gives a container all of a node; see 'hearth policy example'",
		"--timeout 5 app":                    `--timeout: "5" has no unit`,
		"--id ../x app":                      "request ID",
		"-m 1k app":                          "--memory: 1 KiB is less than a container can have; the least is",
		"-e " + strings.Repeat("é", 9) + "\xff=x app": "",
	} {
		run, err := parseRunLine(strings.Fields(line))
		if protocol.CodeOf(err) != protocol.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %+v, %v\nwant %s", line, run, err, want)
		}
	}
}

func FuzzRunLine(f *testing.F) {
	f.Add("-v\n/a:/b\n-e\nA=1\nhello-world\nx")
	f.Add("--tmpfs\n/x:size=1m,mode=700\n--gpus=all\nhello-world")
	f.Fuzz(func(t *testing.T, line string) {
		run, err := parseRunLine(strings.Split(line, "\n"))
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeInvalid {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		if err := run.Service.Validate(); err != nil || run.Service.Stdin || len(run.Service.Secrets) > 0 {
			t.Fatalf("%q: %+v, %v", line, run.Service, err)
		}
	})
}
