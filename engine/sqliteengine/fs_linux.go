package sqliteengine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/engine"
)

// localFileSystems are those known to carry flock, POSIX locks and shared
// memory faithfully between the processes of a host. A list of the bad ones
// would never be complete: a new kind is refused until somebody has tried it.
var localFileSystems = map[uint32]string{
	unix.EXT4_SUPER_MAGIC:      "ext2/3/4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.REISERFS_SUPER_MAGIC:  "reiserfs",
	0x2fc12fc1:                 "zfs",
	0xca451a4e:                 "bcachefs",
	0x3153464a:                 "jfs",
}

// otherFileSystems have a name only to be named in the refusal.
var otherFileSystems = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC:       "9p",
	unix.FUSE_SUPER_MAGIC: "FUSE or virtiofs",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.AFS_SUPER_MAGIC:  "AFS",
}

func checkFileSystem(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return unusableDir(path, os.NewSyscallError("statfs", err))
	}
	return checkMagic(path, uint32(st.Type))
}

func checkMagic(path string, magic uint32) error {
	if localFileSystems[magic] != "" {
		return nil
	}
	name := otherFileSystems[magic]
	if name == "" {
		name = fmt.Sprintf("a file system not known to this engine (%#x)", magic)
	}
	return fmt.Errorf("%w: %s is on %s, where locks between processes cannot be trusted; "+
		"choose a directory on a local file system (ext4, xfs, btrfs, tmpfs, zfs, …)", engine.ErrInvalid, path, name)
}
