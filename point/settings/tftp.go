package settings

import (
	"castpoint/internal/config"
	"castpoint/tftp"
)

// TFTP makes the settings of the TFTP server out of those of the file.
// Rates are bits there and bytes here.
func TFTP(cfg *config.Config) (tftp.Config, error) {
	from, to, err := cfg.TFTPPortRange()
	return tftp.Config{
		MaxBlockSize: cfg.TFTPBlockSize, Fragment: cfg.TFTPFragment, MaxWindow: cfg.TFTPWindow,
		SinglePort: cfg.TFTPSinglePort, PortMin: from, PortMax: to,
		MaxTransfers: cfg.TFTPTransfers, MaxPerClient: cfg.TFTPClientTransfers, IdleTimeout: cfg.TFTPIdle,
		Rate: int64(cfg.TFTPRate) / 8, ClientRate: int64(cfg.TFTPClientRate) / 8, MaxUpload: cfg.TFTPUploadSize,
	}, err
}
