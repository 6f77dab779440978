// Two processes for Nextflow (DSL 2): slides to features, and features to slots.
//
//   include { TCSSA_EXTRACT; TCSSA_ENCODE } from './deploy/nextflow/tcssa.nf'
//   workflow {
//       extracted = TCSSA_EXTRACT(Channel.of(1..8), params.slides, params.job)
//       TCSSA_ENCODE(Channel.of(1..4), 4, extracted.collect(), params.job, params.model, params.encoded)
//   }
//
// Tasks of TCSSA_EXTRACT share one job folder and take the next free slide, so `worker` is only a
// number; those of TCSSA_ENCODE encode their part of `parts`. Slides, job and archive are paths that
// every node sees, and are not staged: what is done stays there, so a task that Nextflow tries again
// goes on where the job stands. More options by task.ext.args:
//   process { withName: TCSSA_EXTRACT { ext.args = '--encoder uni_v2 --mpp 0.5'; accelerator = 1 } }
//
// Not run: Nextflow needs Java and was not at hand. A test parses the two commands.

process TCSSA_EXTRACT {
    tag "worker ${worker}"
    cpus 8
    memory '32 GB'
    maxRetries 3
    // 1 and 2 say that slides or options are at fault: again it would fail again
    errorStrategy { task.exitStatus in [1, 2] ? 'finish' : 'retry' }

    input:
    val worker
    val slides
    val job

    output:
    path "extract-${worker}.json"

    script:
    """
    tcssa extract '${slides}' --out '${job}' --json --log-json log.jsonl ${task.ext.args ?: ''} > extract-${worker}.json
    """
}

process TCSSA_ENCODE {
    tag "part ${part} of ${parts}"
    cpus 4
    memory '8 GB'
    maxRetries 3
    errorStrategy { task.exitStatus in [1, 2] ? 'finish' : 'retry' }

    input:
    val part
    val parts
    val extracted // the reports of TCSSA_EXTRACT, which it waits for
    val job
    val model
    val encoded

    output:
    path "encode-${part}.json"

    script:
    """
    tcssa encode '${job}' --model '${model}' --out '${encoded}' --shard ${part}/${parts} --json --log-json log.jsonl ${task.ext.args ?: ''} > encode-${part}.json
    """
}
