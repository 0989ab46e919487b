package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parley-rt/parley/libs/opskit/certs/authority"
)

// makeCertificate writes a certificate for this machine, and its key, into a directory.
func makeCertificate(dir string) (certFile, keyFile string, err error) {
	a, err := authority.New()
	if err != nil {
		return "", "", err
	}
	private, err := authority.NewKey()
	if err != nil {
		return "", "", err
	}
	cert, key, err := a.Issue(2, private)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem")
	if err := errors.Join(os.WriteFile(certFile, cert, 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
		return "", "", fmt.Errorf("write certificate: %w", err)
	}
	return certFile, keyFile, nil
}
