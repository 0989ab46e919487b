package opskit

import "fmt"

// Page renders the reference page of a program: how it is configured, and every setting. generate is the command that writes the
// page anew.
func (p Program[T]) Page(generate string) (string, error) {
	settings, err := Settings(new(T), p.LoadOptions())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`# Configuration of %s

Generated from the program's settings: %s.

%s

A flag wins over a variable, a variable over the YAML file named by `+"`--config`"+` or `+"`PARLEY_CONFIG`"+`, the file over the
default. Unknown flags, variables with the prefix and keys are errors, and everything that is wrong is listed at once, with exit
code 2, before anything starts. Metrics and traces are exported as the standard `+"`OTEL_*`"+` variables say.

%s`, p.Name, "`"+generate+"`", p.Description, Reference(settings)), nil
}
