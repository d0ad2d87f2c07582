package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Config is what metrics are made of.
type Config struct {
	Version string
	Read    func() State // required
	Log     *zap.Logger
}

// Metrics counts what happens. Its methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	log      *zap.Logger

	dhcp                    *prometheus.CounterVec
	tftp                    *prometheus.CounterVec
	tftpBytes, tftpRepeated prometheus.Counter
	tftpSeconds             prometheus.Histogram
	httpRequests            *prometheus.CounterVec
	httpBytes               prometheus.Counter
	httpSeconds             prometheus.Histogram
	apiRequests             *prometheus.CounterVec
	apiSeconds              prometheus.Histogram
}

// New makes metrics with a registry of their own.
func New(cfg Config) *Metrics {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	// From a script of a few hundred bytes to a WIM of gigabytes over a slow link.
	transfers := prometheus.ExponentialBuckets(0.01, 4, 9) // 10 ms to 11 min
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		log:          cfg.Log,
		dhcp:         counter("castpoint_dhcp_netboot_total", "DHCP requests of netboot clients, by what was asked and answered; none is silence.", "asked", "answer"),
		tftp:         counter("castpoint_tftp_transfers_total", "TFTP transfers that have ended, by result.", "result"),
		tftpBytes:    plain("castpoint_tftp_bytes_total", "Bytes of files that TFTP clients have acknowledged, or sent."),
		tftpRepeated: plain("castpoint_tftp_retransmitted_total", "TFTP datagrams that were sent more than once."),
		tftpSeconds:  histogram("castpoint_tftp_transfer_seconds", "How long finished TFTP transfers took.", transfers),
		httpRequests: counter("castpoint_http_requests_total", "Requests for boot files by HTTP, by status.", "code"),
		httpBytes:    plain("castpoint_http_bytes_total", "Bytes of boot files sent by HTTP."),
		httpSeconds:  histogram("castpoint_http_request_seconds", "How long answers with boot files by HTTP took.", transfers),
		apiRequests:  counter("castpoint_api_requests_total", "Calls of the admin API, by operation and status.", "operation", "code"),
		apiSeconds:   histogram("castpoint_api_request_seconds", "How long calls of the admin API took, without streams of events.", prometheus.DefBuckets),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "castpoint_build_info", Help: "Always 1; the labels say which castpoint this is.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build, m.dhcp, m.tftp, m.tftpBytes, m.tftpRepeated, m.tftpSeconds, m.httpRequests, m.httpBytes, m.httpSeconds,
		m.apiRequests, m.apiSeconds, newCollector(cfg.Read), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ServeHTTP answers Prometheus.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(m.log), ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, r)
}

// DHCP counts a decision about a netboot client; answer is "" for silence.
func (m *Metrics) DHCP(asked, answer string) {
	if answer == "" {
		answer = "none"
	}
	m.dhcp.WithLabelValues(asked, answer).Inc()
}

// TFTP counts a transfer that has ended; result is finished, probe, aborted or
// refused.
func (m *Metrics) TFTP(result string, bytes, repeated int64, took time.Duration) {
	m.tftp.WithLabelValues(result).Inc()
	m.tftpBytes.Add(float64(bytes))
	m.tftpRepeated.Add(float64(repeated))
	if result == "finished" {
		m.tftpSeconds.Observe(took.Seconds())
	}
}

// HTTP counts an answer of the boot listener.
func (m *Metrics) HTTP(status int, bytes int64, took time.Duration) {
	m.httpRequests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.httpBytes.Add(float64(bytes))
	if status < http.StatusMultipleChoices {
		m.httpSeconds.Observe(took.Seconds())
	}
}

// API counts a call of an operation.
func (m *Metrics) API(operation string, status int, took time.Duration, stream bool) {
	m.apiRequests.WithLabelValues(operation, strconv.Itoa(status)).Inc()
	if !stream {
		m.apiSeconds.Observe(took.Seconds())
	}
}
