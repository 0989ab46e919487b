package actorkit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// KubernetesConfig says how to ask Kubernetes for pods. The zero value of all but Selector and Port is what a pod finds in its
// own environment; the pod's service account must be allowed to list pods.
type KubernetesConfig struct {
	// Selector is the label selector of the service's pods. Required.
	Selector string
	// Port is the discovery port, the same on all pods. Required.
	Port int
	// Namespace of the pods. Default: this pod's.
	Namespace string
	// Server is the API server's URL. Default: from KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
	Server string
	// Account is the directory with token, ca.crt and namespace.
	Account string
}

const (
	kubernetesAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
	// maxPodList bounds the answer for a page of pods.
	maxPodList = 32 << 20
	podPage    = 250
)

// KubernetesFinder returns a Finder of the pods that run, ready or not: a node becomes ready only after it has met its peers.
func KubernetesFinder(c KubernetesConfig) Finder {
	if c.Account == "" {
		c.Account = kubernetesAccount
	}
	return &kubernetesFinder{config: c}
}

type kubernetesFinder struct {
	config KubernetesConfig
	client *http.Client
}

func (f *kubernetesFinder) Open(string) error {
	c := &f.config
	if c.Server == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return errors.New("discovery by Kubernetes: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is not a pod")
		}
		c.Server = "https://" + net.JoinHostPort(host, port)
	}
	if c.Namespace == "" {
		text, err := os.ReadFile(c.Account + "/namespace")
		if err != nil {
			return fmt.Errorf("discovery by Kubernetes: read the pod's namespace: %w", err)
		}
		c.Namespace = strings.TrimSpace(string(text))
	}
	ca, err := os.ReadFile(c.Account + "/ca.crt")
	if err != nil {
		return fmt.Errorf("discovery by Kubernetes: read the API server's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("discovery by Kubernetes: %s/ca.crt has no certificate", c.Account)
	}
	f.client = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, IdleConnTimeout: time.Minute},
	}
	return nil
}

// podList is what is read of a v1.PodList.
type podList struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []struct {
		Metadata struct {
			DeletionTimestamp string `json:"deletionTimestamp"`
		} `json:"metadata"`
		Status struct {
			PodIP string `json:"podIP"`
		} `json:"status"`
	} `json:"items"`
}

func (f *kubernetesFinder) Find(ctx context.Context) ([]string, error) {
	var found []string
	for page := ""; ; {
		pods, err := f.list(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("list pods %s in namespace %s: %w", f.config.Selector, f.config.Namespace, err)
		}
		for _, pod := range pods.Items {
			if pod.Status.PodIP != "" && pod.Metadata.DeletionTimestamp == "" {
				found = append(found, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(f.config.Port)))
			}
		}
		if page = pods.Metadata.Continue; page == "" {
			return found, nil
		}
	}
}

func (f *kubernetesFinder) list(ctx context.Context, page string) (*podList, error) {
	query := url.Values{
		"labelSelector": {f.config.Selector}, "fieldSelector": {"status.phase=Running"}, "limit": {strconv.Itoa(podPage)},
	}
	if page != "" {
		query.Set("continue", page)
	}
	at := f.config.Server + "/api/v1/namespaces/" + url.PathEscape(f.config.Namespace) + "/pods?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	// Read every time: Kubernetes replaces it every hour.
	token, err := os.ReadFile(f.config.Account + "/token")
	if err != nil {
		return nil, fmt.Errorf("read the service account's token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPodList))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &status) // an explanation, if there is one
		return nil, fmt.Errorf("%s: %s: let the pod's service account list pods", res.Status, status.Message)
	}
	pods := &podList{}
	if err := json.Unmarshal(body, pods); err != nil {
		return nil, fmt.Errorf("read the API server's answer: %w", err)
	}
	return pods, nil
}

func (f *kubernetesFinder) Close() error {
	if f.client != nil {
		f.client.CloseIdleConnections()
	}
	return nil
}
