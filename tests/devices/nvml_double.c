/* A libnvidia-ml.so.1 without a driver: its GPUs live in the text file named by MLGUARD_NVML_STATE.

   The file is read again on every call, so a test changes a GPU while the program under test runs. One line each:
     gpu     UUID TOTAL USED UTILISATION_PERCENT CELSIUS MILLIWATTS LIMIT_MILLIWATTS NAME
     slice   CARD UUID TOTAL USED NAME           a MIG slice cut from card number CARD
     process CARD PID BYTES                      BYTES -1: the driver does not tell
     error   FUNCTION CODE CARD                  FUNCTION answers CODE; CARD -1: for every card
     hang    FUNCTION                            FUNCTION gives no answer while the line stands
   Without the file the driver is "not loaded". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9 };
enum { CARDS = 8, SLICES = 16, PROCESSES = 32, FIRST_SLICE = 100 };

typedef unsigned long long bytes_t;
typedef struct { char uuid[80], name[80]; bytes_t total, used; unsigned busy, celsius, power, limit; int card; } device_t;
typedef struct { int card; unsigned pid; long long bytes; } holder_t;
typedef struct { unsigned pid; bytes_t bytes; unsigned instance, compute; } process_t;
typedef struct { bytes_t total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } busy_t;

static device_t cards[CARDS], slices[SLICES];
static holder_t holders[PROCESSES];
static int card_count, slice_count, holder_count, sessions;

static int hangs(const char *function) {
    const char *path = getenv("MLGUARD_NVML_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[400], name[80];
    int found = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "hang %79s", name) == 1 && !strcmp(name, function)) found = 1;
    if (file) fclose(file);
    return found;
}

/* Read the state; the code that `function` must answer for `card`, 0 where it works. */
static int consult(const char *function, int card) {
    const char *path = getenv("MLGUARD_NVML_STATE");
    char line[400], name[80];
    int answer = SUCCESS, code, where;
    while (hangs(function)) usleep(5000);
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return NOT_LOADED;
    card_count = slice_count = holder_count = 0;
    while (fgets(line, sizeof line, file)) {
        device_t *gpu = &cards[card_count], *part = &slices[slice_count];
        holder_t *holder = &holders[holder_count];
        if (card_count < CARDS && sscanf(line, "gpu %79s %llu %llu %u %u %u %u %79[^\n]", gpu->uuid, &gpu->total,
                &gpu->used, &gpu->busy, &gpu->celsius, &gpu->power, &gpu->limit, gpu->name) == 8) {
            gpu->card = card_count++;
        } else if (slice_count < SLICES && sscanf(line, "slice %d %79s %llu %llu %79[^\n]", &part->card, part->uuid,
                &part->total, &part->used, part->name) == 5) {
            slice_count++;
        } else if (holder_count < PROCESSES && sscanf(line, "process %d %u %lld", &holder->card, &holder->pid,
                &holder->bytes) == 3) {
            holder_count++;
        } else if (sscanf(line, "error %79s %d %d", name, &code, &where) == 3) {
            if (!strcmp(name, function) && (where < 0 || where == card)) answer = code;
        }
    }
    fclose(file);
    return answer;
}

/* A handle is the card's number plus 1, or a slice's number plus FIRST_SLICE. */
static device_t *device_of(void *handle) {
    long number = (long)handle;
    if (number >= FIRST_SLICE) return number - FIRST_SLICE < slice_count ? &slices[number - FIRST_SLICE] : NULL;
    return number >= 1 && number <= card_count ? &cards[number - 1] : NULL;
}
static int card_of(void *handle) {
    return (long)handle >= FIRST_SLICE ? slices[(long)handle - FIRST_SLICE].card : (int)(long)handle - 1;
}
static int has_slices(int card) {
    for (int i = 0; i < slice_count; i++) if (slices[i].card == card) return 1;
    return 0;
}

#define ON_DEVICE(handle) \
    if (!sessions) return UNINITIALIZED; \
    int code = consult(__func__, card_of(handle)); \
    if (code) return code; \
    device_t *device = device_of(handle); \
    if (!device) return INVALID;

static int put(char *out, unsigned size, const char *text) {
    if (strlen(text) + 1 > size) return TOO_SMALL;
    strcpy(out, text);
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = consult("nvmlInit", -1);
    if (!code) sessions++;
    return code;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return sessions ? (sessions--, SUCCESS) : UNINITIALIZED; }
/* For tests only: how many times the library was started and not shut down. */
int mlguardOpenSessions(void) { return sessions; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the double"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!sessions) return UNINITIALIZED;
    int code = consult(__func__, -1);
    *count = card_count;
    return code;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (!sessions) return UNINITIALIZED;
    int code = consult(__func__, index);
    if (!code && (int)index >= card_count) code = INVALID;
    *handle = (void *)(long)(index + 1);
    return code;
}
int nvmlDeviceGetUUID(void *handle, char *out, unsigned size) { ON_DEVICE(handle) return put(out, size, device->uuid); }
int nvmlDeviceGetName(void *handle, char *out, unsigned size) { ON_DEVICE(handle) return put(out, size, device->name); }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    ON_DEVICE(handle)
    *memory = (memory_t){device->total, device->total - device->used, device->used};
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *handle, busy_t *busy) {
    ON_DEVICE(handle)
    *busy = (busy_t){device->busy, 0};
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    (void)sensor;
    ON_DEVICE(handle)
    *celsius = device->celsius;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *power) { ON_DEVICE(handle) *power = device->power; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *power) {
    ON_DEVICE(handle)
    *power = device->limit;
    return SUCCESS;
}
/* Asked only by jupyterlab-nvdashboard, which `make bench` measures beside us. */
int nvmlDeviceGetNvLinkVersion(void *handle, unsigned link, unsigned *version) {
    (void)handle, (void)link, (void)version;
    return NOT_SUPPORTED;
}
int nvmlDeviceGetMaxPcieLinkGeneration(void *handle, unsigned *generation) {
    (void)handle, (void)generation;
    return NOT_SUPPORTED;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    ON_DEVICE(handle)
    *now = *pending = has_slices(device->card);
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    ON_DEVICE(handle)
    *count = has_slices(device->card) ? 7 : 0;
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned position, void **part) {
    ON_DEVICE(handle)
    for (int i = 0; i < slice_count; i++)
        if (slices[i].card == device->card && position-- == 0) {
            *part = (void *)(long)(FIRST_SLICE + i);
            return SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *out) {
    ON_DEVICE(handle)
    unsigned room = *count, found = 0;
    for (int i = 0; i < holder_count; i++) {
        if (holders[i].card != device->card) continue;
        if (found < room) out[found] = (process_t){holders[i].pid, (bytes_t)holders[i].bytes, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room ? TOO_SMALL : SUCCESS;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process_t *out) {
    (void)out;
    ON_DEVICE(handle)
    *count = 0;
    return SUCCESS;
}
