package notify

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// TakeFIFO gives root's FIFO at path to the owner of its folder, and says whether it did: keepalived that is started first, and whose
// configuration names no owner, makes it as root, and a daemon that is not root could not open it. keepalived writes on into the one
// that it has open. It is for root; nothing but a FIFO of root's that has no other name is touched, whatever the folder's owner put
// there.
func TakeFIFO(path string) (bool, error) {
	var folder, st unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &folder); err != nil || folder.Uid == 0 {
		return false, ignoreMissing(err)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, ignoreMissing(err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("notify: look at the FIFO %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO || st.Uid != 0 || st.Nlink != 1 {
		return false, nil
	}
	if err := unix.Fchownat(fd, "", int(folder.Uid), int(folder.Gid), unix.AT_EMPTY_PATH); err != nil {
		return false, fmt.Errorf("notify: give the FIFO %s to user %d: %w", path, folder.Uid, err)
	}
	return true, nil
}

func ignoreMissing(err error) error {
	if err == nil || err == unix.ENOENT || err == unix.ELOOP {
		return nil
	}
	return fmt.Errorf("notify: look for the FIFO: %w", err)
}
