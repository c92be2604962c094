// Greedy search with a bundle of tprune on Android, from token ids to token ids. A sample: not compiled here.
// Gradle: implementation("com.microsoft.onnxruntime:onnxruntime-android:VERSION"), with at least the VERSION that
// manifest.json has as `runtime.minimum`. Of the settings in `decoding` it heeds forbidden single tokens alone;
// tprune_runtime/replay.py has them all.
package org.example.translate

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.FloatBuffer
import java.nio.LongBuffer
import org.json.JSONObject

class Bundle(private val folder: File, threads: Int = 2) {
    private val env = OrtEnvironment.getEnvironment()
    private val manifest = JSONObject(File(folder, "manifest.json").readText())
    private val options = OrtSession.SessionOptions().apply { setIntraOpNumThreads(threads) }
    private val encoder = env.createSession(File(folder, "encoder.onnx").path, options)
    private val decoder = env.createSession(File(folder, "decoder.onnx").path, options)
    private val spec = manifest.getJSONArray("graphs").let { all ->
        (0 until all.length()).map(all::getJSONObject).first { it.getString("name") == "decoder" }
    }
    private val states = spec.getJSONArray("states").let { all ->  // pairs: past_key_0, present_key_0
        (0 until all.length()).map { all.getJSONArray(it).getString(0) to all.getJSONArray(it).getString(1) }
    }

    private fun ids(values: LongArray, vararg shape: Long) =
        OnnxTensor.createTensor(env, LongBuffer.wrap(values), shape)

    private fun empty(name: String): OnnxTensor {  // dims: batch, heads, past, size; before the first step past is 0
        val inputs = spec.getJSONArray("inputs")
        val input = (0 until inputs.length()).map(inputs::getJSONObject).first { it.getString("name") == name }
        val shape = input.getJSONArray("dims").let { longArrayOf(1, it.getLong(1), 0, it.getLong(3)) }
        return OnnxTensor.createTensor(env, FloatBuffer.allocate(0), shape)
    }

    fun translate(source: LongArray): List<Long> {
        val known = manifest.getJSONObject("decoding")
        val ends = known.getJSONArray("eos_token_id").let { all -> (0 until all.length()).map(all::getLong) }
        val never = known.getJSONArray("bad_words_ids").let { all -> (0 until all.length()).map(all::getJSONArray) }
            .filter { it.length() == 1 }.map { it.getInt(0) }
        val mask = ids(LongArray(source.size) { 1 }, 1, source.size.toLong())
        val read = encoder.run(mapOf("input_ids" to ids(source, 1, source.size.toLong()), "attention_mask" to mask))
        val fixed = read.associate { (name, value) -> name to value as OnnxTensor } + ("attention_mask" to mask)
        var past: Map<String, OnnxTensor> = states.associate { (before, _) -> before to empty(before) }
        var token = known.getLong("decoder_start_token_id")
        val said = mutableListOf<Long>()
        while (said.size < known.getInt("max_length") - 1 && (said.isEmpty() || token !in ends)) {
            val at = ids(longArrayOf(said.size.toLong()), 1)
            val now = mapOf("input_ids" to ids(longArrayOf(token), 1, 1), "position" to at)
            val done = decoder.run(fixed + past + now)  // close() it once the next step has read its states
            val logits = (done.get("logits").get() as OnnxTensor).floatBuffer
            token = (0 until logits.remaining()).filter { it !in never }.maxByOrNull { logits.get(it) }!!.toLong()
            past = states.associate { (before, after) -> before to done.get(after).get() as OnnxTensor }
            said += token
        }
        val rows = manifest.getJSONArray("rows")  // empty, or the token of each of the decoder's numbers
        return if (rows.length() == 0) said else said.map { rows.getLong(it.toInt()) }
    }
}
