"""Every wrapper of cloche.linux against the running kernel: no mocks, and no root where it can be helped."""
