package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
)

// fileNames are looked for in the project's folder where no file was named, and
// the first one's override beside it.
var (
	fileNames     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrideNames = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// environment merges the environment over the env files, as compose does.
func environment(opts Options, dir string) (map[string]string, error) {
	vars := make(map[string]string, len(opts.Env))
	for _, e := range opts.Env {
		if k, v, ok := strings.Cut(e, "="); ok {
			vars[k] = v
		}
	}
	files := opts.EnvFiles
	if len(files) == 0 {
		file := filepath.Join(dir, ".env")
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			return vars, nil
		}
		files = []string{file}
	}
	for _, f := range files {
		if err := checkSize(f); err != nil {
			return nil, err
		}
	}
	more, err := dotenv.GetEnvFromFile(vars, files)
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	for k, v := range more {
		if _, ok := vars[k]; !ok {
			vars[k] = v
		}
	}
	return vars, nil
}

// checkSize refuses a file that compose-go would read whole.
func checkSize(path string) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s", filepath.Base(path))
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder, not a file of variables", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxFile:
		return fmt.Errorf("%s has more than %d KiB: is it a file of variables?", path, maxFile>>10)
	}
	return nil
}

// projectDir returns the folder that relative paths start from.
func projectDir(opts Options) (string, error) {
	dir := opts.Dir
	if dir == "" && len(opts.Files) > 0 && opts.Files[0] != "-" {
		dir = filepath.Dir(opts.Files[0])
	}
	return filepath.Abs(dir)
}

// composeFiles returns the files to read: those named, those of COMPOSE_FILE, or
// what the project's folder has.
func composeFiles(opts Options, dir string, vars map[string]string) ([]string, error) {
	files := slices.Clone(opts.Files)
	for i, f := range files {
		if f == "-" {
			continue
		}
		var err error
		if files[i], err = filepath.Abs(f); err != nil {
			return nil, err
		}
	}
	if len(files) == 0 && vars["COMPOSE_FILE"] != "" {
		separator := vars["COMPOSE_PATH_SEPARATOR"]
		if separator == "" {
			separator = string(filepath.ListSeparator)
		}
		for f := range strings.SplitSeq(vars["COMPOSE_FILE"], separator) {
			files = append(files, absolute(dir, f))
		}
	}
	if len(files) == 0 {
		files = searchFiles(dir)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no %s in %s: name the file with -f FILE, or a single service with --image", fileNames[0], dir)
	}
	return files, nil
}

func searchFiles(dir string) []string {
	first := func(names []string) []string {
		for _, n := range names {
			if info, err := os.Stat(filepath.Join(dir, n)); err == nil && !info.IsDir() {
				return []string{filepath.Join(dir, n)}
			}
		}
		return nil
	}
	found := first(fileNames)
	if found != nil {
		found = append(found, first(overrideNames)...)
	}
	return found
}

// projectName returns the stack's name: as asked for, as the files say, or as
// the folder is called.
func (s *sources) projectName(opts Options, dir string) (string, error) {
	wish, from := opts.ProjectName, "the name"
	if wish == "" {
		wish, from = s.vars["COMPOSE_PROJECT_NAME"], "COMPOSE_PROJECT_NAME"
	}
	if wish == "" {
		from = "the file's name"
		for _, src := range s.all[:s.named] {
			for _, doc := range src.docs {
				if n := scalar(find(doc, "name")); n != "" {
					wish = s.interpolate(n)
				}
			}
		}
	}
	if wish == "" {
		wish, from = filepath.Base(dir), "the folder's name"
	}
	name := loader.NormalizeProjectName(wish)
	if name == "" || len(name) > maxName {
		return "", fmt.Errorf("%s %q makes no stack's name of 1 to %d of a-z, 0-9, - and _: give one with -p NAME", from, clip(wish), maxName)
	}
	return name, nil
}

// interpolate replaces variables in text as compose-go does; where that fails it
// returns the text as it is, and compose-go tells.
func (s *sources) interpolate(text string) string {
	out, err := template.SubstituteWithOptions(text, s.lookup, template.WithoutLogging)
	if err != nil {
		return text
	}
	return out
}

func (s *sources) lookup(name string) (string, bool) {
	v, ok := s.vars[name]
	return v, ok
}

// unset returns the variables of text that are not set and have no default.
func (s *sources) unset(text string) []string {
	if !strings.Contains(text, "$") {
		return nil
	}
	var names []string
	for name, v := range template.ExtractVariables(map[string]any{"": text}, template.DefaultPattern) {
		if _, set := s.vars[name]; !set && v.DefaultValue == "" && v.PresenceValue == "" && !v.Required && !hasDefault(text, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// hasDefault reports whether a variable has a default that is empty, as in
// ${NAME:-}.
func hasDefault(text, name string) bool {
	return strings.Contains(text, "${"+name+"-") || strings.Contains(text, "${"+name+":-") || strings.Contains(text, "${"+name+"+") || strings.Contains(text, "${"+name+":+")
}
