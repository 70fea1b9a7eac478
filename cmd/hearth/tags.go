package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// requestFlags are the flags of `hearth run` that say what is written on a request
// and given to it in secret.
type requestFlags struct {
	name            string
	labels, secrets []string
	remove          bool
}

func (f *requestFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "`NAME` by which the request can be named, too, while no other has it")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "write the tag `K[=V]` on the request; 'hearth ps --filter' finds by it")
	flags.BoolVar(&f.remove, "rm", false, "forget the request once it has ended, with its output")
	flags.StringArrayVar(&f.secrets, "secret", nil,
		"give it /run/secrets/NAME in memory, `NAME[=FILE]`: what FILE holds, - is this command's input; without FILE, this one's variable NAME")
}

// apply adds what the flags say to a service. stdin is what a secret may be read
// from; nil where it is the container's.
func (f *requestFlags) apply(s *protocol.Service, stdin io.Reader) error {
	tags, err := f.tags()
	if err != nil {
		return err
	}
	s.Tags, s.AutoRemove = tags, f.remove
	for _, text := range f.secrets {
		name, file, ok, err := parseSecret(text)
		if err != nil {
			return err
		}
		data, err := readSecret(name, file, ok, stdin)
		if err != nil {
			return err
		}
		if file == "-" {
			stdin = nil // it has ended
		}
		s.Secrets = append(s.Secrets, protocol.Secret{Name: name, Data: data, Size: uint32(len(data))})
	}
	return nil
}

func (f *requestFlags) tags() (map[string]string, error) {
	tags := make(map[string]string)
	for _, text := range f.labels {
		k, v, _ := strings.Cut(text, "=")
		tags[k] = v
	}
	if f.name != "" {
		if _, err := protocol.ParseRequestID(f.name); err != nil {
			return nil, &failure{err: fmt.Errorf("--name %q is not a name that a verb takes", f.name), hint: "1 to 64 letters, digits, '-', '_' and '.', the first a letter or a digit"}
		}
		if given, ok := tags[protocol.TagName]; ok && given != f.name {
			return nil, fmt.Errorf("--name %s and --label name=%s are two names", f.name, printable(given))
		}
		tags[protocol.TagName] = f.name
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, nil
}

// parseSecret reads NAME[=FILE], or docker's id=NAME,src=FILE.
func parseSecret(text string) (name, file string, fromFile bool, err error) {
	if !strings.HasPrefix(text, "id=") || !strings.Contains(text, ",") {
		name, file, fromFile = strings.Cut(text, "=")
		return name, file, fromFile, nil
	}
	for field := range strings.SplitSeq(text, ",") {
		switch key, value, _ := strings.Cut(field, "="); {
		case key == "id":
			name = value
		case key == "src" || key == "source":
			file, fromFile = value, true
		case field == "type=file":
		case field == "type=env" || key == "env" && value == name:
			fromFile = false
		default:
			return "", "", false, &failure{err: fmt.Errorf("--secret %q: hearth has nothing like %q", text, field),
				hint: "write --secret NAME=FILE, or --secret NAME for this command's variable of that name"}
		}
	}
	return name, file, fromFile, nil
}

// readSecret returns what a secret holds. Errors name it, and never what it holds.
func readSecret(name, file string, fromFile bool, stdin io.Reader) ([]byte, error) {
	var from io.Reader
	switch {
	case !fromFile:
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, &failure{err: fmt.Errorf("--secret %s: there is no variable of that name", printable(name)), hint: "export it, or write --secret NAME=FILE"}
		}
		from = strings.NewReader(value)
	case file == "-" && stdin == nil:
		return nil, &failure{err: fmt.Errorf("--secret %s=-: this command's input is taken already", printable(name)), hint: "leave out --interactive, or name a file"}
	case file == "-":
		from = stdin
	default:
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--secret %s: %w", printable(name), err)
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || info.IsDir() {
			return nil, fmt.Errorf("--secret %s: %w", printable(name), errors.Join(err, fmt.Errorf("%s is a folder", file)))
		}
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, protocol.MaxSecret+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("--secret %s: %w", printable(name), err)
	case len(data) > protocol.MaxSecret:
		return nil, &failure{err: fmt.Errorf("--secret %s: it has more than %d bytes", printable(name), protocol.MaxSecret), hint: "pass what is larger by --mount, or put it into the image"}
	}
	return data, nil
}

// tagsText lists tags but for the name.
func tagsText(tags map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		switch v := tags[k]; {
		case k == protocol.TagName:
		case v == "":
			list = append(list, k)
		default:
			list = append(list, k+"="+v)
		}
	}
	return strings.Join(list, ", ")
}

func secretsText(secrets []protocol.Secret) string {
	var list []string
	for _, s := range secrets {
		list = append(list, fmt.Sprintf("%s/%s of %d bytes", protocol.SecretsDir, s.Name, s.Size))
	}
	return strings.Join(list, ", ")
}
