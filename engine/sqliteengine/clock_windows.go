package sqliteengine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

var queryUnbiasedInterruptTime = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryUnbiasedInterruptTime")

// monotonic counts in steps of 100 ns, and stands still while the machine
// sleeps.
func monotonic() int64 {
	var t uint64
	_, _, _ = queryUnbiasedInterruptTime.Call(uintptr(unsafe.Pointer(&t)))
	return int64(t) * 100
}

// bootID is a count of boots that Windows keeps.
func bootID() (string, error) {
	const path = `SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	defer func() { _ = k.Close() }()
	id, _, err := k.GetIntegerValue("BootId")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return fmt.Sprintf("boot %d", id), nil
}
