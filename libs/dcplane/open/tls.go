package open

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsConfig makes the client's side of TLS from the parameters ca, cert and key.
func (a *address) tlsConfig() (*tls.Config, []error) {
	var problems []error
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := a.parameters["ca"]; file != "" {
		pem, err := os.ReadFile(file)
		config.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("parameter ca: %w", err))
		case !config.RootCAs.AppendCertsFromPEM(pem):
			problems = append(problems, fmt.Errorf("parameter ca: %s has no certificate in PEM form", file))
		}
	}
	cert, key := a.parameters["cert"], a.parameters["key"]
	switch {
	case cert == "" && key == "":
	case cert == "" || key == "":
		problems = append(problems, errors.New("parameters cert and key belong together: give both or neither"))
	default:
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				return nil, fmt.Errorf("parameters cert and key: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			problems = append(problems, err)
		}
		// Certificates are renewed while the process runs.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, problems
}

// withoutTLS refuses the parameters of TLS on a scheme without it, and names the one with it.
func (a *address) withoutTLS(secure string) (problems []error) {
	for _, name := range tlsParameters {
		if a.parameters[name] != "" {
			problems = append(problems, fmt.Errorf("parameter %s is for TLS: write %s:// instead of %s://", name, secure, a.scheme))
		}
	}
	return problems
}

var tlsParameters = []string{"ca", "cert", "key"}
