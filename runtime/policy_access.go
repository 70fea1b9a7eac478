package runtime

import "slices"

// mayReach says whether a device may reach into containers here in the way that
// the key, one of exec, forward and copy, is about. Any other key is what every
// device may that may have work done here.
func (p *Policy) mayReach(key string, a Asker) error {
	var list []string
	what := "run no commands in its containers"
	switch key {
	case "exec":
		list = p.Exec
	case "forward":
		list, what = p.Forward, "connect to no port of its containers"
	case "copy":
		list, what = p.Copy, "copy no files of its containers"
	}
	if list == nil {
		return p.mayAsk(a)
	}
	if a.Name != "" && slices.Contains(list, a.Name) || slices.Contains(list, string(a.Node)) {
		return nil
	}
	return deny(key, listing(key, list, nil, a.text()), "lets %s %s", quoted(a.text()), what)
}

// Askers returns all devices that the policy names.
func (p *Policy) Askers() []string { return slices.Concat(p.AllowFrom, p.Exec, p.Forward, p.Copy) }

// mayBe says whether a command may run as the user; empty is the container's.
func (p *Policy) mayBe(user string) error {
	if _, ok := notRoot(user); user == "" || ok || !p.RunAsNonRoot {
		return nil
	}
	return deny("run_as_nonroot", line("run_as_nonroot", "false"), "takes no user but one by numbers above 0, as --user 1000 or 1000:1000: %s may be root", quoted(user))
}
