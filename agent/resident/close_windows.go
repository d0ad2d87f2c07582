package resident

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// closeToOthers sets the security descriptor of a file or folder.
func closeToOthers(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	b := descriptor(info.IsDir())
	sd := (*windows.SECURITY_DESCRIPTOR)(unsafe.Pointer(&b[0]))
	dacl, _, err := sd.DACL()
	if err == nil {
		err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
			windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	}
	runtime.KeepAlive(b)
	if err != nil {
		return fmt.Errorf("set the permissions of %s: %w", path, os.NewSyscallError("SetNamedSecurityInfo", err))
	}
	return nil
}
