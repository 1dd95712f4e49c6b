/* A stand-in for libnvidia-ml.so.1, so that the unmodified nvidia-ml-py can be tested without a GPU.
 *
 * Built and used by tests/executors/local/nvml.py. Environment variables, read at every call:
 *   FAKE_NVML_INIT   what nvmlInit returns, such as 9 (driver not loaded); 0 if it is not set
 *   FAKE_NVML_STATE  a file with a line for each GPU, "name" being its last field:
 *                    index fault mig used_mib utilisation celsius milliwatts pid name
 *                    fault: what every call about this GPU returns, such as 15 (GPU is lost); 0: nothing is wrong
 *                    pid: a process that computes on it; 0: none
 *                    a utilisation of -1, or 0 celsius or milliwatts: this GPU does not tell
 *   FAKE_NVML_HANG   if there is a file of this name, calls last until it is gone
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
#define TOTAL_BYTES (80ULL << 30)

typedef void *device;

struct gpu {
    int index, fault, mig, utilisation, celsius, milliwatts, pid;
    unsigned long long used_mib;
    char name[96];
};

static int find(int index, struct gpu *found) {
    const char *path = getenv("FAKE_NVML_STATE"), *hang = getenv("FAKE_NVML_HANG");
    while (hang && access(hang, F_OK) == 0) usleep(10000);
    FILE *file = path ? fopen(path, "r") : NULL;
    int count = 0;
    struct gpu gpu;
    while (file && fscanf(file, "%d %d %d %llu %d %d %d %d %95[^\n]", &gpu.index, &gpu.fault, &gpu.mig, &gpu.used_mib,
                          &gpu.utilisation, &gpu.celsius, &gpu.milliwatts, &gpu.pid, gpu.name) == 9) {
        if (gpu.index == index) *found = gpu;
        count++;
    }
    if (file) fclose(file);
    return count;
}

static int ask(device handle, struct gpu *gpu) {
    memset(gpu, 0, sizeof *gpu);
    find((int)(long)handle - 1, gpu);
    return gpu->fault;
}

#define ASK(handle) struct gpu gpu; int fault = ask(handle, &gpu); if (fault) return fault

int nvmlInitWithFlags(unsigned flags) { (void)flags; const char *code = getenv("FAKE_NVML_INIT"); return code ? atoi(code) : SUCCESS; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "a fake error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "999.99"); return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) { struct gpu gpu; *count = find(-1, &gpu); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *handle) {
    struct gpu gpu;
    if ((int)index >= find(-1, &gpu)) return INVALID_ARGUMENT;
    *handle = (device)(long)(index + 1);
    return ask(*handle, &gpu);
}

int nvmlDeviceGetName(device handle, char *text, unsigned size) { ASK(handle); snprintf(text, size, "%s", gpu.name); return SUCCESS; }

int nvmlDeviceGetUUID(device handle, char *text, unsigned size) {
    ASK(handle);
    snprintf(text, size, "GPU-00000000-0000-0000-0000-%012d", gpu.index);
    return SUCCESS;
}

int nvmlDeviceGetMinorNumber(device handle, unsigned *minor) { ASK(handle); *minor = gpu.index; return SUCCESS; }

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(device handle, struct memory *memory) {
    ASK(handle);
    memory->total = TOTAL_BYTES;
    memory->used = gpu.used_mib << 20;
    memory->free = TOTAL_BYTES - memory->used;
    return SUCCESS;
}

struct utilisation { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(device handle, struct utilisation *rates) {
    ASK(handle);
    if (gpu.utilisation < 0) return NOT_SUPPORTED;
    rates->gpu = gpu.utilisation;
    rates->memory = gpu.utilisation / 2;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device handle, int sensor, unsigned *celsius) {
    (void)sensor;
    ASK(handle);
    if (!gpu.celsius) return NOT_SUPPORTED;
    *celsius = gpu.celsius;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(device handle, unsigned *milliwatts) {
    ASK(handle);
    if (!gpu.milliwatts) return NOT_SUPPORTED;
    *milliwatts = gpu.milliwatts;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(device handle, unsigned *current, unsigned *pending) {
    ASK(handle);
    if (gpu.mig < 0) return NOT_SUPPORTED;
    *current = *pending = gpu.mig;
    return SUCCESS;
}

struct process { unsigned pid; unsigned long long memory; unsigned instance, compute_instance; };
int nvmlDeviceGetComputeRunningProcesses_v3(device handle, unsigned *count, struct process *processes) {
    ASK(handle);
    unsigned needed = gpu.pid ? 1 : 0, room = *count;
    *count = needed;
    if (room < needed) return INSUFFICIENT_SIZE;
    if (needed) processes[0] = (struct process){gpu.pid, gpu.used_mib << 20, ~0u, ~0u};
    return SUCCESS;
}
