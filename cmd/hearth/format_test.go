package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/protocol/api"
)

func TestFormatIsGoTemplateOverJSON(t *testing.T) {
	d := realDetail()
	out := api.NewRequestDetail(&d)
	for _, c := range []struct{ format, want string }{
		{"{{.id}}", "k3vq7xwz2mfn5tbd4hyc"},
		{"", ""},
		{"plain", "plain"},
		{"{{.state}} on {{.node_name}}", "failed on living-room-mediacenter"},
		{"{{.service.cpus}} {{.service.memory}} {{.detached}}", "1.5 536870912 true"},
		{"{{.nosuch}}{{.nosuch.deeper}}|", "|"},
		{`{{join .args " "}}`, "python -m homeassistant --config /config"},
		{`{{.args | json}}`, `["python","-m","homeassistant","--config","/config"]`},
		{"{{.service.mounts}}", `[{"source":"/srv/home-assistant/config","target":"/config","writable":true},{"source":"/etc/localtime","target":"/etc/localtime","writable":false}]`},
		{"{{range .events}}{{.state}} {{end}}{{len .events}}", "accepted placing running failed 4"},
		{`{{range .service.devices}}x{{else}}none{{end}}`, "none"},
		{`{{with .service.labels}}{{.arch}}{{end}}`, "arm64"},
		{`{{if eq .state "failed"}}{{.code}}{{else}}fine{{end}}`, "start_failed"},
		{`{{if not .service.tty}}no {{end}}{{(index .events 1).queue_place}} {{index .service.labels "arch" | upper}}`, "no 12 ARM64"},
		{`{{range .events}}{{if ne .state "running"}}{{$.id | len}}{{end}}{{end}}`, "202020"},
		{`{{- /* nothing */ -}} a {{- " b" }}`, "a b"},
	} {
		f, err := parseFormat(c.format)
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
			continue
		}
		var got bytes.Buffer
		if err := f.print(&got, out); err != nil || got.String() != c.want+"\n" {
			t.Errorf("%s gives %q, %v, want %q", c.format, got.String(), err, c.want)
		}
	}
}

func TestFormatThatIsWrongIsTold(t *testing.T) {
	for format, want := range map[string]string{
		"{{.id":                          "--format:1: unclosed action",
		"{{nosuch .id}}":                 `function "nosuch" not defined`,
		"{{.id.deeper}}":                 "deeper is asked of k3vq7xwz2mfn5tbd4hyc, which has no keys",
		"{{range .id}}{{end}}":           ".id is no list",
		"{{index .events 9}}":            "there is no 9 in a list of 4",
		"{{$x := .id}}":                  "variables as in $x := .id are not supported here",
		"{{join .id}}":                   "join takes 2 values, not 1",
		"{{.id .id}}":                    ".id is no function",
		`{{template "x"}}`:               "is not supported here",
		strings.Repeat("x", maxFormat+1): "the most is 65536",
		"{{len .detached}}":              "true has no length",
		`{{join .args 1}}`:               "join takes a list and a text",
	} {
		f, err := parseFormat(format)
		if err == nil {
			d := realDetail()
			err = f.print(new(bytes.Buffer), api.NewRequestDetail(&d))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", clipped(format, 40), err, want)
		}
	}
}

// Whatever is given, it is printed or refused, and steers no terminal.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"{{.id}}", "{{range .events}}{{json .}}{{end}}", "{{if eq .state \"x\"}}a{{else if .id}}b{{end}}", "{{with $.args}}{{index . 0}}{{end}}", "\x1b]0;x\a"} {
		f.Add(seed)
	}
	d := realDetail()
	out := api.NewRequestDetail(&d)
	f.Fuzz(func(t *testing.T, text string) {
		format, err := parseFormat(text)
		if err != nil {
			return
		}
		var got bytes.Buffer
		if format.print(&got, out) == nil && strings.ContainsAny(got.String(), "\x1b\x07\u009b") {
			t.Errorf("%q gives %q", text, got.String())
		}
	})
}
