package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"github.com/hearth-edge/hearth/protocol"
)

// Load reads the compose files of opts into a stack, and what the user should
// know of it. Where a file cannot be read, or asks for what a stack cannot have,
// it returns an error; [Refusals] where it can name lines. It never leaves a key
// out in silence.
func Load(ctx context.Context, opts Options) (protocol.Stack, []Warning, error) {
	dir, err := projectDir(opts)
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	vars, err := environment(opts, dir)
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	files, err := composeFiles(opts, dir, vars)
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	src, err := readSources(files, dir, vars)
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	if found := src.unknown(); len(found) > 0 {
		return protocol.Stack{}, nil, found
	}
	name, err := src.projectName(opts, dir)
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	r := &reader{src: src, dir: dir, name: name, plan: opts.Plan, profiles: profiles(opts, vars), unset: make(map[string]bool)}
	if err := r.load(ctx); err != nil {
		return protocol.Stack{}, nil, err
	}
	return r.convert()
}

func profiles(opts Options, vars map[string]string) []string {
	if len(opts.Profiles) > 0 || vars["COMPOSE_PROFILES"] == "" {
		return opts.Profiles
	}
	return strings.Split(vars["COMPOSE_PROFILES"], ",")
}

// A reader turns one project into a stack.
type reader struct {
	src      *sources
	dir      string // of the project, absolute
	name     string
	plan     bool
	profiles []string

	project *types.Project
	uses    []use           // keys that are not done
	unset   map[string]bool // variables that are used and not set

	stack    protocol.Stack
	folders  map[string]string // volumes of folders: name to path
	travels  map[string]int    // files that travel: name to index in stack.Files
	size     int               // of these files
	warnings []Warning
	refusals Refusals
}

// load has compose-go read and merge the files.
func (r *reader) load(ctx context.Context) (err error) {
	silence()
	// A file that makes the library panic is a bad file, not a crash.
	defer func() {
		if p := recover(); p != nil {
			err = Refusals{{Position: r.src.locate("services"), Key: "services", Reason: fmt.Sprintf("the file cannot be read: %v", p), Instead: "a value is likely of the wrong type: put quotes around it"}}
		}
	}()
	details := types.ConfigDetails{WorkingDir: r.dir, Environment: maps.Clone(r.src.vars)}
	for _, f := range r.src.all[:r.src.named] {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f.path, Content: f.data})
	}
	options := []func(*loader.Options){func(o *loader.Options) {
		o.SetProjectName(r.name, true)
		o.Profiles = r.profiles
		o.ResolvePaths = false // a relative path becomes a volume
		o.SkipNormalization = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.Interpolate.Substitute = r.substitute
	}}
	model, err := loader.LoadModelWithContext(ctx, details, options...)
	if err != nil {
		return r.src.explain(err)
	}
	r.uses = notDone(model)
	if model, err = loader.Normalize(model, details.Environment); err != nil {
		return r.src.explain(err)
	}
	project, err := loader.ModelToProject(model, loader.ToOptions(&details, options), details)
	if err != nil {
		return r.src.explain(err)
	}
	project = project.WithoutUnnecessaryResources()
	r.project = project
	return r.readEnvFiles()
}

// substitute replaces variables and keeps those that are not set. In a plan a
// required one that is missing stands for itself, and so does the source of a
// mount, or the tag of an image.
func (r *reader) substitute(text string, lookup template.Mapping) (string, error) {
	unset := r.src.unset(text)
	for _, name := range unset {
		if _, set := lookup(name); !set {
			r.unset[name] = true
		}
	}
	out, err := template.SubstituteWithOptions(text, lookup, template.WithoutLogging)
	var missing *template.MissingRequiredError
	for i := 0; r.plan && errors.As(err, &missing) && i < maxRequired; i++ {
		name, outer := missing.Variable, lookup
		r.unset[name] = true
		lookup = func(n string) (string, bool) {
			if n == name {
				return n, true
			}
			return outer(n)
		}
		out, err = template.SubstituteWithOptions(text, lookup, template.WithoutLogging)
	}
	if r.plan && len(unset) > 0 {
		switch {
		case strings.HasPrefix(out, ":/"): // a mount
			out = "./" + unset[0] + out
		case strings.HasSuffix(out, ":"): // an image
			out += unset[0]
		}
	}
	return out, err
}

// silence keeps compose-go from writing to the standard error by a logger that
// the whole process shares. What it would warn of is told as a [Warning].
var silence = sync.OnceFunc(func() { logrus.SetOutput(io.Discard) })

// readEnvFiles adds what env files and label files say to the services.
func (r *reader) readEnvFiles() error {
	var refused Refusals
	for _, name := range r.project.ServiceNames() {
		s := r.project.Services[name]
		s.EnvFiles = slices.DeleteFunc(s.EnvFiles, func(f types.EnvFile) bool {
			err := checkSize(absolute(r.dir, f.Path))
			if err == nil {
				return false
			}
			at := r.src.locate("services", name, "env_file")
			if r.plan || !bool(f.Required) {
				r.warnings = append(r.warnings, Warning{at, fmt.Sprintf("an env_file is not read: %v", err)})
				return true
			}
			refused = append(refused, Refusal{at, key("services", name, "env_file"), err.Error(), "write the file, or `required: false`"})
			return true
		})
		for i := range s.EnvFiles {
			s.EnvFiles[i].Path = absolute(r.dir, s.EnvFiles[i].Path)
		}
		for i, f := range s.LabelFiles {
			s.LabelFiles[i] = absolute(r.dir, f)
			if err := checkSize(s.LabelFiles[i]); err != nil {
				refused = append(refused, Refusal{r.src.locate("services", name, "label_file"), key("services", name, "label_file"), err.Error(), "write the file"})
			}
		}
		r.project.Services[name] = s
	}
	if len(refused) > 0 {
		return refused.sorted()
	}
	project, err := r.project.WithServicesEnvironmentResolved(true)
	if err == nil {
		project, err = project.WithServicesLabelsResolved(true)
	}
	if err != nil {
		return r.src.explain(err)
	}
	r.project = project
	return nil
}

func key(path ...string) string { return strings.Join(path, ".") }
